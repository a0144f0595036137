package consumer

import (
	"context"

	"github.com/partlog/partlog/group"
)

// origin knows with which topics the group had started before this member came, and since then has. A partition of such a
// topic without a committed offset is one that has come later: nothing of it may be skipped, whatever Config.Reset is. It
// is asked for only by Config.Reset that skip anything.
//
// How a member can know: whoever is assigned a partition where the group starts commits the start at once, and in any case
// before it joins again. So after a generation every partition of its topics has a committed offset, but for new ones.
type origin struct {
	topics map[string]bool
	all    bool
}

func (o *origin) knows(topic string) bool { return o.all || o.topics[topic] }

func (o *origin) add(topics []string) {
	if o.topics == nil {
		o.topics = make(map[string]bool)
	}
	for _, t := range topics {
		o.topics[t] = true
	}
}

// learn asks, before the member joins, what the group has started with.
func (m *member) learn(ctx context.Context) error {
	c := m.consumer.config
	if c.Start != nil || c.Reset != ResetLatest && c.Reset != ResetByDuration {
		return nil
	}
	d, err := m.coordinator.Describe(ctx, m.group.ID())
	if err != nil {
		return err
	}
	for tp := range d.Offsets {
		m.origin.add([]string{tp.Topic})
	}
	m.origin.all = m.pattern != nil && len(d.Offsets) > 0
	for _, other := range d.Members {
		if len(other.Assignment) == 0 {
			continue // it has not been in a generation yet
		}
		if s, err := group.DecodeSubscription(other.Metadata); err == nil {
			m.origin.add(s.Topics)
		}
	}
	return nil
}
