package group

import (
	"fmt"
	"maps"

	"github.com/partlog/partlog/partition"
)

// Configure implements Coordinators.
func (c *coordinator) Configure(group string, o ConsumerGroupOverrides) error {
	c.mu.Lock()
	defer c.unlock()
	if c.closing {
		return fmt.Errorf("configure group %q: %w", group, partition.ErrClosed)
	}
	groups := maps.Clone(c.machine.consumer.Groups) // machines have the old one
	if groups == nil {
		groups = make(map[string]ConsumerGroupOverrides)
	}
	groups[group] = o
	if o == (ConsumerGroupOverrides{}) {
		delete(groups, group)
	}
	next := c.machine.consumer
	next.Groups = groups
	of := next.of(group)
	of.Groups = nil
	if err := of.validate(); err != nil {
		return fmt.Errorf("configure group %q: %w", group, err)
	}
	c.machine.consumer = next
	for g := range c.groupsLocked() {
		if g.id == group {
			g.configure(next)
		}
	}
	return nil
}

// configure changes the settings of a consumer group. Timers that run keep the time that they were set to.
func (m *machine) configure(c ConsumerGroupConfig) {
	m.config.consumer = c
	if m.next != nil {
		m.next.config = c.of(m.id)
	}
}
