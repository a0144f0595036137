package group

// scheduleExpiryLocked sets the timer of the next look at the groups' offsets, if offsets expire at all.
func (c *coordinator) scheduleExpiryLocked() {
	if c.config.OffsetsRetention <= 0 || c.closing {
		return
	}
	c.expiry = c.config.Clock.AfterFunc(c.config.OffsetsRetentionCheckInterval, func() {
		c.mu.Lock()
		defer c.unlock()
		if !c.closing {
			c.wg.Go(c.expire)
		}
	})
}

// expire drops what has expired in all groups of the store. What cannot be loaded is left to the next time.
func (c *coordinator) expire() {
	if partitions, err := c.allPartitions(c.life); err == nil {
		c.mu.Lock()
		for _, p := range partitions {
			for _, g := range p.groups {
				if !c.closing {
					c.stepLocked(g, expireEvent{c.config.OffsetsRetention})
				}
			}
		}
		c.unlock()
	}
	c.mu.Lock()
	defer c.unlock()
	c.scheduleExpiryLocked()
}

// stopTimersLocked stops the timers that belong to no group.
func (c *coordinator) stopTimersLocked() {
	if c.expiry != nil {
		c.expiry()
	}
	for _, p := range c.partitions {
		if p.tailRetry != nil {
			p.tailRetry()
		}
	}
}
