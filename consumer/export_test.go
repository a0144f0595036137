package consumer

// Wanted reports whether the member waits for the turn.
func (c *Consumer) Wanted() bool { return c.signals.Load() >= 2 }

// Stopped reports whether Close has told the member's goroutine to end.
func (c *Consumer) Stopped() bool { return c.member.stopped.Err() != nil }
