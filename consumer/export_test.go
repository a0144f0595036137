package consumer

// Wanted reports whether the member waits for the turn.
func (c *Consumer) Wanted() bool { return c.signals.Load() >= 2 }
