"""Write masks_from_labels.ipynb: the cells of masks_from_labels.py with what they print and draw.

python examples/make_notebook.py
"""

import io
import tempfile
from base64 import b64decode, b64encode
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

SCRIPT = Path(__file__).with_name("masks_from_labels.py")
COLOURS = 256  # of a picture
SECONDS = 1800  # that a cell may take


def main() -> None:
    """Run the cells of the script in an empty folder, and write the notebook.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell ended with an error.
    """
    notebook = jupytext.read(SCRIPT)
    with tempfile.TemporaryDirectory() as empty:
        options = {"timeout": SECONDS, "resources": {"metadata": {"path": empty}}}
        NotebookClient(notebook, record_timing=False, coalesce_streams=True, **options).execute()
        tidy(notebook, empty)
    nbformat.write(notebook, SCRIPT.with_suffix(".ipynb"))


def tidy(notebook: nbformat.NotebookNode, folder: str) -> None:
    """Take progress bars and the path of `folder` out of the output, make pictures small, and give cells fixed ids."""
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = output.text.replace(f"{folder}/", "")
            else:
                output.data = {"image/png": smaller(output.data["image/png"])}


def smaller(png: str) -> str:
    """Return a PNG, base64, with fewer colours."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(b64decode(png))) as image:
        small = image.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE)
    small.save(buffer, format="PNG", optimize=True)
    return b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
