"""One reader, and everything that they can work out about the others from what is shown (G9.6).

`worlds` draws people, `contributions` counts what each of them did, `shown` runs the pipeline over them and keeps what
a reader sees. `releases`, `ranks`, `withholding` and `months` are the attacks; `isolation` judges what they obtain.
"""
