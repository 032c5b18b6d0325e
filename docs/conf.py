"""Sphinx's settings for the documentation site; docs/contributing.md says how to build it."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent / "_build_tools")]

project = "semples"
extensions = ["generated_pages", "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build_tools", "configs"]
html_theme, html_title = "furo", "semples"
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_show_search_summary = False  # it fetches pages, which a browser refuses from file://
html_static_path, html_css_files = ["_build_tools/site.css"], ["site.css"]
html_theme_options = {"navigation_with_keys": True}
suppress_warnings = ["myst.header"]  # a page may start its sections where it likes
myst_heading_anchors = 3
pygments_style = "friendly"
default_role = "literal"  # docstrings write code in single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the Args of the docstrings have shapes and units
autodoc_default_options = {"members": True}
