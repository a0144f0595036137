package group

import (
	"time"

	"github.com/partlog/partlog/partition"
)

// stepExpire drops offsets that nobody needs any more (KIP-211), and the group with its last one, or if it has none any more
// (OffsetMetadataManager.cleanupExpiredOffsets).
func (m *machine) stepExpire(retention time.Duration) {
	if m.blank() || m.state == Dead {
		return
	}
	base, ok := m.expiryBase()
	if !ok {
		return
	}
	subscribed := m.subscribed()
	var expired []partition.TopicPartition
	for _, tp := range sortedKeys(m.offsets) {
		o := m.offsets[tp]
		over := m.now.Sub(base(o)) >= retention
		if o.expires != 0 {
			over = m.now.UnixMilli() >= o.expires
		}
		if over && !subscribed[tp.Topic] && !m.unstable(tp) && !m.unwritten[tp] {
			expired = append(expired, tp)
		}
	}
	p := &pendingAppend{expired: true}
	p.group = len(expired) == len(m.offsets) && m.state == Empty && len(m.awaited) == 0 && len(m.pending) == 0 && len(m.appends) == 0
	if len(expired) > 0 || p.group {
		m.delete(p, expired)
	}
}

// expiryBase says from when on an offset's retention counts (ClassicGroup.offsetExpirationCondition): from when the
// group became empty; from the commit for topics that a stable group has left, and for consumers that assign by hand.
// While a group rebalances nothing expires.
func (m *machine) expiryBase() (func(storedOffset) time.Time, bool) {
	committed := func(o storedOffset) time.Time { return o.Time }
	switch {
	case m.protocolType == "":
		return committed, true
	case m.state == Empty && m.since.UnixMilli() >= 0:
		return func(storedOffset) time.Time { return m.since }, true
	case m.state == Empty: // a record of a broker that wrote no time
		return committed, true
	case m.state == Stable && m.subscribed() != nil:
		return committed, true
	}
	return nil, false
}
