"""Colours that colour-blind readers tell apart: Okabe and Ito, Color Universal Design, 2008."""

BLACK = "#000000"
OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442")  # without black
