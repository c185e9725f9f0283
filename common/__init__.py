"""What data_preparation.py, train.py and inference.py share.

text        when two texts are the same, and how a title and a description become one text
files       hashes, JSON, and files that are written whole or not at all
onet        the O*NET workbooks: download and reading
samples     what data_preparation.py hands on to the other two
anchors     titles made noisy, and postings made up around them; the words are in words.json
batches     neighbouring occupations together in training, lengths alike
losses      what training minimises
validation  how well an encoder ranks by the label texts: measured, told and drawn
encoders    the encoder on onnxruntime or torch, its ONNX graph and the export of it
index       embeddings of label texts and known texts, on disk and ready to compare with
soc         SOC: how codes are written, their levels and groups, older codes
own_titles  titles of a user's own, in whatever form they are given
tables      files of rows in and out, of many kinds
columns     which column of a table holds what
coding      coding every row of a file
demo        answers on the screen, and a demo of ten postings
evaluation  how often codes are right, with intervals
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(f"error: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
