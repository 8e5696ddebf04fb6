"""Speed, measured: `make bench`. Every figure says what ran; ratios come from one run on one machine."""
