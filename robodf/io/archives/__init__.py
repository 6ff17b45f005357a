"""Archives: their members as rows, the samples of WebDataset, and files of any format inside of them."""
