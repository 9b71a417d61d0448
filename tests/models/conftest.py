"""What the tests of models share."""

from short_probe import short_probe as short_probe
