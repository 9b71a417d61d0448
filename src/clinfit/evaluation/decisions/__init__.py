"""From probabilities to decisions: thresholds, recalibration, referral, sets."""
