package partition

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/partlog/partlog/log"
)

// catalogue is everything that a store knows beside its records. It is a pure state machine: apply takes one event and
// has no clock, lock or file. Every event is one entry of the journal, durable before apply sees it; a snapshot of the
// journal is the encoded catalogue.
//
// What happens to a topic:
//
//	created ──→ live ──→ deleted ──→ purged
//	             │ ↑
//	             └─┘ configured, grown, start raised, point reached
type catalogue struct {
	clusterID   TopicID // one of Kafka's uuids; a cluster id is 16 bytes like a topic's
	directoryID TopicID
	incarnation int64 // opens for writing so far
	clean       bool  // the last thing that happened was a clean close
	nextID      int64 // first producer id that no block has
	topics      map[string]*catTopic
	deleted     map[TopicID]catDeleted // until their directories are gone
	settings    map[string]string      // of front ends
	shared      uint64                 // in a cluster: index of the last change that came from it; 0: the store has always been alone
	refused     error                  // why the last one did not fit; not encoded

	stamp  int64            // changes of settings so far; of this open, not encoded
	stamps map[string]int64 // of each area: the last change
}

// catTopic is one topic of the catalogue.
type catTopic struct {
	name      string
	id        TopicID
	created   time.Time
	epoch     LeaderEpoch // of all its partitions
	overrides map[string]string
	parts     []catPart
}

// catPart is one partition of the catalogue.
type catPart struct {
	logStart      Offset // raised by DeleteRecords
	recoveryPoint Offset
	end           Offset      // at the clean close; −1 is unknown
	imprint       log.Imprint // of the segment that was appended to last
	cleaned       Offset      // the first dirty one; above 0: there may be gaps between offsets
	highWatermark Offset      // in a cluster; may lag
}

// catDeleted is a topic whose directories may still be there.
type catDeleted struct {
	name  string
	parts int32
}

// The kinds of journal entries. The numbers are on disk: never change one, only add.
const (
	eventFormatted       uint8 = 1 // clusterID, directoryID
	eventOpened          uint8 = 2 // incarnation, unclean
	eventTopicCreated    uint8 = 3 // topic
	eventTopicDeleted    uint8 = 4 // id
	eventTopicPurged     uint8 = 5 // id
	eventTopicConfigured uint8 = 6 // id, overrides
	eventTopicGrown      uint8 = 7 // id, partitions
	eventProducerIDs     uint8 = 8 // next
	eventLogStart        uint8 = 9 // id, partition, offset
	eventRecoveryPoints  uint8 = 10
	eventClosed          uint8 = 11 // with the ends of all partitions
	eventCleaned         uint8 = 12 // first dirty offsets
	eventSettings        uint8 = 13 // changes
	eventShared          uint8 = 14 // index, kind, payload of one of the kinds above, see cluster.go
	eventSharedImported  uint8 = 15 // index, state
	eventTruncated       uint8 = 16 // id, partition, offset
	eventReset           uint8 = 17 // id, partition, offset
	eventReplicaRemoved  uint8 = 18 // id, partition
	eventHighWatermarks  uint8 = 19
)

// mark is one offset of one partition, in events about many.
type mark struct {
	id        TopicID
	partition int32
	offset    Offset
	start     Offset // only of eventClosed
	imprint   log.Imprint
}

func newCatalogue() *catalogue {
	return &catalogue{topics: map[string]*catTopic{}, deleted: map[TopicID]catDeleted{}}
}

// apply changes the state by one event. An event that cannot have followed the ones before is an error, and changes
// nothing: then the journal is not this store's.
func (c *catalogue) apply(kind uint8, payload []byte) error {
	d := decoder{buf: payload}
	var err error
	switch kind {
	case eventFormatted:
		c.clusterID, c.directoryID = d.id(), d.id()
	case eventOpened:
		c.incarnation = d.int()
		if unclean := d.bool(); unclean {
			c.raiseEpochs()
		}
		c.clean = false
	case eventTopicCreated:
		t := d.topic()
		if d.err == nil {
			err = c.create(t)
		}
	case eventTopicDeleted:
		err = c.with(&d, func(t *catTopic) error {
			delete(c.topics, t.name)
			delete(c.settings, raisedPrefix+t.id.String())
			c.deleted[t.id] = catDeleted{t.name, int32(len(t.parts))}
			return nil
		})
	case eventTopicPurged:
		delete(c.deleted, d.id())
	case eventTopicConfigured:
		err = c.with(&d, func(t *catTopic) error {
			m := d.strings()
			if d.err == nil {
				t.overrides = m
			}
			return nil
		})
	case eventTopicGrown:
		err = c.with(&d, func(t *catTopic) error {
			n := d.int()
			if n < int64(len(t.parts)) || n > maxPartitions {
				return fmt.Errorf("topic %q grows from %d to %d partitions", t.name, len(t.parts), n)
			}
			t.parts = grow(t.parts, int(n))
			return nil
		})
	case eventProducerIDs:
		c.nextID = max(c.nextID, d.int())
	case eventLogStart:
		err = c.marks(&d, 1, func(p *catPart, m mark) { p.logStart = max(p.logStart, m.offset) })
	case eventRecoveryPoints:
		err = c.marks(&d, int(d.int()), func(p *catPart, m mark) { p.recoveryPoint, p.imprint = m.offset, m.imprint })
	case eventClosed:
		err = c.marks(&d, int(d.int()), func(p *catPart, m mark) {
			p.end, p.recoveryPoint, p.logStart, p.imprint = m.offset, m.offset, max(p.logStart, m.start), m.imprint
		})
		c.clean = true
	case eventCleaned:
		err = c.marks(&d, int(d.int()), func(p *catPart, m mark) { p.cleaned = m.offset })
	case eventSettings:
		changes := d.changes()
		if d.err == nil {
			c.put(changes)
		}
	case eventShared, eventSharedImported:
		err = c.applyShared(kind, &d)
	case eventTruncated:
		err = c.marks(&d, 1, func(p *catPart, m mark) { p.truncate(m.offset) })
	case eventReset:
		err = c.marks(&d, 1, func(p *catPart, m mark) {
			*p = catPart{logStart: m.offset, recoveryPoint: min(p.recoveryPoint, m.offset), end: -1}
		})
	case eventReplicaRemoved:
		err = c.marks(&d, 1, func(p *catPart, _ mark) { *p = catPart{} })
	case eventHighWatermarks:
		err = c.marks(&d, int(d.int()), func(p *catPart, m mark) { p.highWatermark = m.offset })
	default:
		return fmt.Errorf("%w: journal entry of kind %d", ErrNewerFormat, kind)
	}
	if err == nil {
		err = d.err
	}
	return err
}

// raiseEpochs starts a new leader epoch everywhere: an unclean open may have lost a tail of any partition that was
// written to, and which those are, nobody can say.
func (c *catalogue) raiseEpochs() {
	for _, t := range c.topics {
		t.epoch++
		for i := range t.parts {
			t.parts[i].end = -1
		}
	}
}

func (c *catalogue) create(t *catTopic) error {
	if _, ok := c.topics[t.name]; ok {
		return fmt.Errorf("topic %q is created twice", t.name)
	}
	c.topics[t.name] = t
	return nil
}

// with calls f with the topic whose id comes next in d.
func (c *catalogue) with(d *decoder, f func(*catTopic) error) error {
	id := d.id()
	if d.err != nil {
		return d.err
	}
	for _, t := range c.topics {
		if t.id == id {
			return f(t)
		}
	}
	return fmt.Errorf("%w %s in the journal", ErrUnknownTopicID, id)
}

// marks calls f for n marks of d. Marks of topics deleted meanwhile are skipped.
func (c *catalogue) marks(d *decoder, n int, f func(*catPart, mark)) error {
	byID := make(map[TopicID]*catTopic, len(c.topics))
	for _, t := range c.topics {
		byID[t.id] = t
	}
	for range n {
		m := d.mark()
		if d.err != nil {
			return d.err
		}
		if t := byID[m.id]; t != nil && int(m.partition) < len(t.parts) {
			f(&t.parts[m.partition], m)
		}
	}
	return nil
}

func grow(parts []catPart, n int) []catPart {
	out := make([]catPart, n)
	copy(out, parts)
	return out
}

// names returns the topics' names, sorted.
func (c *catalogue) names() []string { return slices.Sorted(maps.Keys(c.topics)) }

// encode returns the whole state, for a snapshot of the journal.
func (c *catalogue) encode() []byte {
	var e encoder
	format := int64(catalogueFormat)
	switch {
	case c.shared > 0 || c.hasHighWatermarks():
		format = catalogueOfNode
	case len(c.settings) > 0:
		format = catalogueWithSettings
	}
	e.int(format)
	e.id(c.clusterID)
	e.id(c.directoryID)
	e.int(c.incarnation)
	e.bool(c.clean)
	e.int(c.nextID)
	e.int(int64(len(c.topics)))
	for _, name := range c.names() {
		e.topic(c.topics[name])
	}
	e.int(int64(len(c.deleted)))
	for id, t := range c.deleted {
		e.id(id)
		e.string(t.name)
		e.int(int64(t.parts))
	}
	c.encodeCleaned(&e, format)
	if format >= catalogueWithSettings {
		c.encodeSettings(&e)
	}
	if format >= catalogueOfNode {
		c.encodeNode(&e)
	}
	return e.buf
}

// The versions of a snapshot's layout. One with settings has a version of its own, for a program that knew nothing of them
// would open the store without its access rules.
const (
	catalogueFormat       = 1
	catalogueWithSettings = 2
	catalogueOfNode       = 3 // of a node of a cluster: with the index of the last shared change, and high watermarks
)

// restore replaces the state by what encode returned.
func (c *catalogue) restore(state []byte) error {
	d := decoder{buf: state}
	format := d.int()
	if (format < catalogueFormat || format > catalogueOfNode) && d.err == nil {
		return fmt.Errorf("%w: catalogue format %d, this program reads %d", ErrNewerFormat, format, catalogueOfNode)
	}
	n := newCatalogue()
	n.clusterID, n.directoryID = d.id(), d.id()
	n.incarnation, n.clean, n.nextID = d.int(), d.bool(), d.int()
	for range d.int() {
		t := d.topic()
		if d.err != nil {
			return d.err
		}
		if err := n.create(t); err != nil {
			return err
		}
	}
	for range d.int() {
		id := d.id()
		n.deleted[id] = catDeleted{d.string(), int32(d.int())}
		if d.err != nil {
			return d.err
		}
	}
	n.restoreCleaned(&d)
	n.stamp = c.stamp // goes on, for those who have seen it
	if format >= catalogueWithSettings {
		n.restoreSettings(&d)
	}
	if format >= catalogueOfNode {
		n.restoreNode(&d)
	}
	if d.err == nil {
		*c = *n
	}
	return d.err
}
