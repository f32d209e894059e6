"""One file per data set: where its images and labels lie and what its label values mean."""
