"""The small base model: its tokenizer, its data in blocks, its optimizer and its loop."""
