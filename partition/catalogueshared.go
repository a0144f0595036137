package partition

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/partlog/partlog/log"
)

// The part of the catalogue that the nodes of a cluster share: topics without what is each copy's own, settings, the next producer id. A
// node's own journal has each shared change in one entry with its index in the cluster's log, so that what has been made and how far that is
// are one fact, and the directory remains a complete store.

// sharedKind says whether changes of that kind are shared.
func sharedKind(kind uint8) bool {
	switch kind {
	case SharedTopicCreated, SharedTopicDeleted, SharedTopicConfigured, SharedTopicGrown, SharedProducerIDs, SharedSettings:
		return true
	}
	return false
}

// applyShared makes a change that came from the cluster. One that does not fit the state changes nothing but the index: so it was for all.
func (c *catalogue) applyShared(kind uint8, d *decoder) error {
	index := uint64(d.int())
	if kind == eventSharedImported {
		state := d.bytes(d.int())
		if d.err != nil {
			return d.err
		}
		if err := c.importShared(state); err != nil {
			return err
		}
		c.shared, c.refused = index, nil
		return nil
	}
	inner := uint8(d.int())
	payload := d.bytes(d.int())
	if d.err != nil {
		return d.err
	}
	if !sharedKind(inner) {
		return fmt.Errorf("%w: shared change of kind %d", ErrNewerFormat, inner)
	}
	c.shared, c.refused = index, c.apply(inner, payload)
	return nil
}

func encodeShared(index uint64, kind uint8, payload []byte) []byte {
	var e encoder
	e.int(int64(index))
	e.int(int64(kind))
	e.int(int64(len(payload)))
	return append(e.buf, payload...)
}

// The version of the layout of exportShared.
const sharedFormat = 1

// exportShared returns the shared state, the same bytes on every node.
func (c *catalogue) exportShared() []byte {
	var e encoder
	e.int(sharedFormat)
	e.id(c.clusterID)
	e.int(c.nextID)
	e.int(int64(len(c.topics)))
	for _, name := range c.names() {
		t := c.topics[name]
		e.string(t.name)
		e.id(t.id)
		e.int(t.created.UnixMilli())
		e.strings(t.overrides)
		e.int(int64(len(t.parts)))
	}
	settings := maps.Clone(c.settings)
	maps.DeleteFunc(settings, func(key, _ string) bool { return strings.HasPrefix(key, raisedPrefix) })
	e.strings(settings)
	return e.buf
}

// importShared makes the shared state what exportShared returned; what is each copy's own stays where the topic does.
func (c *catalogue) importShared(state []byte) error {
	d := decoder{buf: state}
	if format := d.int(); d.err == nil && format != sharedFormat {
		return fmt.Errorf("%w: shared catalogue of format %d, this program reads %d", ErrNewerFormat, format, sharedFormat)
	}
	clusterID, nextID := d.id(), d.int()
	topics := map[TopicID]*catTopic{}
	for range d.int() {
		t := &catTopic{name: d.string(), id: d.id(), created: time.UnixMilli(d.int()), overrides: d.strings()}
		n := d.int()
		if n < 0 || n > maxPartitions {
			d.fail()
		}
		if d.err != nil {
			return d.err
		}
		t.parts = make([]catPart, n)
		topics[t.id] = t
	}
	settings := d.strings()
	if d.err != nil {
		return d.err
	}
	c.clusterID, c.nextID = clusterID, max(c.nextID, nextID)
	for _, name := range c.names() {
		have := c.topics[name]
		t := topics[have.id]
		if t == nil {
			delete(c.topics, name)
			delete(c.settings, raisedPrefix+have.id.String())
			c.deleted[have.id] = catDeleted{have.name, int32(len(have.parts))}
			continue
		}
		t.epoch = have.epoch
		copy(t.parts, have.parts)
	}
	for _, t := range topics {
		c.topics[t.name] = t
	}
	var changes []Setting
	for key := range c.settings {
		if _, ok := settings[key]; !ok && !strings.HasPrefix(key, raisedPrefix) {
			changes = append(changes, Setting{Key: key})
		}
	}
	for key, value := range settings {
		if have, ok := c.settings[key]; !ok || have != value {
			changes = append(changes, Setting{key, []byte(value)})
		}
	}
	if len(changes) > 0 {
		c.put(changes)
	}
	return nil
}

// truncate forgets what is known of records from offset on.
func (p *catPart) truncate(offset Offset) {
	p.recoveryPoint, p.highWatermark = min(p.recoveryPoint, offset), min(p.highWatermark, offset)
	if p.cleaned > offset {
		p.cleaned = 0 // the segment that is cut is cleaned again
	}
	p.imprint = log.Imprint{}
}

// knowsBehind says whether truncate would forget anything.
func (p *catPart) knowsBehind(offset Offset) bool {
	i := p.imprint
	return p.recoveryPoint > offset || p.highWatermark > offset || p.cleaned > offset || i != (log.Imprint{}) && (i.Next > offset || i.Base >= offset)
}

func (c *catalogue) hasHighWatermarks() bool {
	for _, t := range c.topics {
		if slices.ContainsFunc(t.parts, func(p catPart) bool { return p.highWatermark > 0 }) {
			return true
		}
	}
	return false
}

// encodeNode writes what only a node's catalogue has.
func (c *catalogue) encodeNode(e *encoder) {
	e.int(int64(c.shared))
	var marks []mark
	for _, name := range c.names() {
		t := c.topics[name]
		for i := range t.parts {
			if o := t.parts[i].highWatermark; o > 0 {
				marks = append(marks, mark{id: t.id, partition: int32(i), offset: o})
			}
		}
	}
	e.int(int64(len(marks)))
	for _, m := range marks {
		e.mark(m)
	}
}

func (c *catalogue) restoreNode(d *decoder) {
	c.shared = uint64(d.int())
	if d.err == nil {
		_ = c.marks(d, int(d.int()), func(p *catPart, m mark) { p.highWatermark = m.offset }) // the error is d's
	}
}
