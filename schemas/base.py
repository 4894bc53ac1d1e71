"""What every table has in common: strict columns, no coercion, one Parquet file."""

from pathlib import Path

import pandera.pandas as pa

DATA_DIR = Path("data")


class Table(pa.DataFrameModel):
    """One artifact on disk: data/<Config.name>.parquet, exactly these columns.

    A table with items (one file per policy) is written to data/<name>_<item>.parquet.
    `primary_key()` names the columns by which rows are sorted before writing, so that the same
    rows give the same bytes.
    """

    class Config:
        strict = True  # an unknown column is an error, not a passenger
        coerce = False  # the writer gets the dtype right; the reader never repairs it

    @classmethod
    def table_name(cls) -> str:
        """The name in `Config.name`, which is also the file name and the SQL view."""
        return str(cls.to_schema().name)

    @classmethod
    def path(cls, item: str | None = None) -> Path:
        """The file of this table, relative to the repository root."""
        stem = cls.table_name() if item is None else f"{cls.table_name()}_{item}"
        return DATA_DIR / f"{stem}.parquet"

    @classmethod
    def primary_key(cls) -> list[str]:
        """The primary key: `Config.unique`."""
        return list(cls.to_schema().unique or [])
