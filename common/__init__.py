"""What data_preparation.py, train.py and inference.py share.

to begin with
  text           when two texts are the same, and how a title and a description become one
  files          hashes, JSON, and files that are written whole or not at all
  full_install   says in one line what is missing beside requirements-inference.txt
data
  onet           the O*NET workbooks: download and reading
  labelled       titles that others have coded
  written        texts written for this project
  samples        what data_preparation.py hands on to the other two
training
  anchors        titles made noisy, and postings made up around them; the words are in words.json
  batches        neighbouring occupations together, lengths alike
  losses         what training minimises
  validation     how well an encoder ranks by the label texts: measured, told and drawn
  fit_layers     fits the two layers beside the encoder
coding
  sentences      of a posting those that tell duties
  spelling       mends slips of the pen
  no_occupation  answers that are no occupation
  encoders       the encoder on onnxruntime or torch, its ONNX graph and the export of it
  index          embeddings of label texts and known texts, on disk and ready to compare with
  layers         the two layers: by the embedding, and by the letters of a title
  calibration    how sharp the confidence is
  soc            SOC: how codes are written, their levels and groups, older codes
  own_titles     titles of a user's own, in whatever form they are given
files and answers
  tables         files of rows in and out, of many kinds
  columns        which column of a table holds what
  coding         coding every row of a file
  evaluation     how often codes are right, with intervals
  demo           answers on the screen, and a demo of ten postings
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(f"error: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
