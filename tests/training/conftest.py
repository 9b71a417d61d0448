"""What the tests of training share."""

from short_probe import short_probe as short_probe
