"""Work seen and steered from another terminal."""
