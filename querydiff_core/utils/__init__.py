"""What knows no model and no data set: files, images, video, processes."""
