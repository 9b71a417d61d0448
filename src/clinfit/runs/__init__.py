"""Work on a study folder: the commands, and the steps behind them."""
