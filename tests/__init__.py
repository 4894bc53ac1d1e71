"""What holds, in sentences: a test's name says it, its body shows it."""
