package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

const (
	loadBytes = 1 << 20 // asked for at a time
	// maxDecompressed bounds what a compressed batch of the offsets topic may become. We write none, a broker may have.
	maxDecompressed = 64 << 20
)

// partition returns the partition of a group, loaded. It waits for the load or ctx; the load goes on in any case.
func (c *coordinator) partition(ctx context.Context, group string) (*offsetsPartition, error) {
	n, err := c.countPartitions(ctx)
	if err != nil {
		return nil, err
	}
	return c.partitionAt(ctx, PartitionFor(group, n))
}

// countPartitions returns the number of partitions of OffsetsTopic.
func (c *coordinator) countPartitions(ctx context.Context) (int32, error) {
	c.mu.Lock()
	n := c.count
	c.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	// A topic that a broker has made may have any number of partitions. One that is still to be made will have
	// the usual number, so nothing is remembered until it is there.
	metadata, err := c.topics(ctx, map[string]bool{OffsetsTopic: true})
	if err != nil {
		return 0, err
	}
	if n = int32(len(metadata[OffsetsTopic].Partitions)); n == 0 {
		return OffsetsPartitions, nil
	}
	c.mu.Lock()
	c.count = n
	c.mu.Unlock()
	return n, nil
}

// partitionAt returns a partition, loaded.
func (c *coordinator) partitionAt(ctx context.Context, index int32) (*offsetsPartition, error) {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return nil, partition.ErrClosed
	}
	p := c.partitions[index]
	if p == nil && c.moves {
		c.mu.Unlock()
		return nil, fmt.Errorf("%s-%d: %w", OffsetsTopic, index, ErrNotCoordinator)
	}
	if p == nil {
		p = c.beginLocked(index)
		p.life, p.end = c.life, func() {}
		c.wg.Go(func() { c.load(p) })
	}
	c.mu.Unlock()
	select {
	case <-p.ready:
		return p, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// beginLocked makes a partition that is to be loaded.
func (c *coordinator) beginLocked(index int32) *offsetsPartition {
	p := &offsetsPartition{index: index, ready: make(chan struct{}), groups: make(map[string]*hosted)}
	p.builder.Reset(nil, batch.Options{})
	c.partitions[index] = p
	return p
}

// load reads a partition. If that fails, those who wait are told, and the next one who asks starts another load.
func (c *coordinator) load(p *offsetsPartition) {
	started := c.config.Clock.Now()
	l, err := c.replay(p)
	c.mu.Lock()
	defer c.unlock()
	defer close(p.ready)
	if err != nil {
		p.err = fmt.Errorf("load %s-%d: %w", OffsetsTopic, p.index, err)
		delete(c.partitions, p.index)
		return
	}
	c.loadedLocked(p, l, started)
}

// replay reads a partition into groups.
func (c *coordinator) replay(p *offsetsPartition) (*loader, error) {
	l := &loader{c: c, partition: p, groups: make(map[string]*hosted), names: make(map[string]string), txns: make(map[int64]map[*hosted]bool)}
	return l, l.run()
}

// loadedLocked takes the groups on that have been read.
func (c *coordinator) loadedLocked(p *offsetsPartition, l *loader, started time.Time) {
	before := c.stats.RemovedMembers
	for id, g := range l.groups {
		c.stepLocked(g, loadedEvent{})
		if c.count > 0 && p.groups[id] != nil && PartitionFor(id, c.count) != p.index {
			l.info.Misplaced++
		}
	}
	for producer, groups := range l.txns {
		for g := range groups {
			c.watchLocked(g, producer, l.next)
		}
	}
	l.info.Partition, l.info.Groups = p.index, len(p.groups)
	l.info.RemovedMembers = int(c.stats.RemovedMembers - before)
	l.info.Duration = c.config.Clock.Now().Sub(started)
	c.tellLocked(l.info)
}

// loader replays a partition into groups that nobody else can see yet.
type loader struct {
	c         *coordinator
	partition *offsetsPartition
	groups    map[string]*hosted
	txns      map[int64]map[*hosted]bool // groups with offsets in transactions without a marker, by producer id
	next      partition.Offset           // the first offset that was not read
	names     map[string]string          // of groups and topics, once each
	offset    storedOffset               // the present record's
	info      LoadedInfo
	it        batch.Iterator
	buf       []byte
}

func (l *loader) run() error {
	ctx := l.partition.life // the load is for all who will ask, not for the first one
	tp := partition.TopicPartition{Topic: OffsetsTopic, Partition: l.partition.index}
	if err := l.complete(ctx, tp); err != nil {
		return err
	}
	offset, err := l.c.backend.ListOffsets(ctx, tp, partition.TimestampEarliest)
	l.next = offset
	if errors.Is(err, partition.ErrUnknownTopicOrPartition) && !l.c.moves {
		return nil // nothing has been committed in this store
	} else if err != nil {
		return err
	}
	var results []partition.FetchResult
	for {
		l.c.mu.Lock()
		err := l.c.openLocked(l.partition)
		l.c.mu.Unlock()
		if err != nil {
			return err
		}
		results, err = l.c.backend.Fetch(ctx, partition.FetchRequest{
			Partitions: []partition.FetchPosition{{TopicPartition: tp, Offset: offset, LeaderEpoch: partition.LeaderEpochUnknown, MaxBytes: loadBytes}},
			Reuse:      results,
		})
		if err != nil {
			return err
		}
		if len(results) == 0 {
			break
		}
		next, err := l.apply(&results[0], offset)
		if err != nil {
			return err
		}
		if next == offset {
			break
		}
		offset, l.next = next, next
	}
	return l.adoptTopics(ctx)
}

// apply replays what was fetched and returns the offset after it.
func (l *loader) apply(r *partition.FetchResult, offset partition.Offset) (partition.Offset, error) {
	defer r.Lease.Release()
	if _, ok := errors.AsType[*log.CorruptionError](r.Err); ok && r.CorruptNext > offset {
		// Better to go on with older offsets than with none: what they lack is consumed once more.
		l.corrupt(CorruptInfo{Offset: offset, NextOffset: r.CorruptNext, Err: r.Err})
		return r.CorruptNext, nil
	}
	if errors.Is(r.Err, partition.ErrOffsetOutOfRange) && r.LogStart > offset {
		return r.LogStart, nil
	}
	if r.Err != nil {
		return offset, r.Err
	}
	// The bytes may be mapped, and a fault must not end the process.
	if err := mmap.Guard(func() { l.buf = append(l.buf[:0], r.Batches...) }); err != nil {
		return offset, err
	}
	for data := l.buf; len(data) > 0; {
		b, err := batch.Peek(data)
		if err != nil {
			return offset, err
		}
		err = b.CheckCRC()
		if err == nil {
			err = l.applyBatch(b, int64(offset))
		}
		if err != nil {
			l.corrupt(CorruptInfo{Offset: partition.Offset(b.BaseOffset()), NextOffset: partition.Offset(b.NextOffset()), Err: err})
		}
		offset = partition.Offset(b.NextOffset())
		data = data[len(b):]
	}
	return offset, nil
}

func (l *loader) applyBatch(b batch.Batch, from int64) error {
	b.Iterate(&l.it, maxDecompressed)
	for l.it.Next() {
		r := l.it.Record()
		if r.Offset < from {
			continue
		}
		l.info.Records++
		if b.IsControl() {
			l.applyMarker(b.ProducerID(), r)
			continue
		}
		v, ok, err := decodeRecordInto(r.Key, r.Value, l.names, &l.offset)
		switch {
		case err != nil:
			l.info.Skipped++
			l.corrupt(CorruptInfo{
				Offset: partition.Offset(r.Offset), NextOffset: partition.Offset(r.Offset + 1),
				Key: slices.Clone(r.Key), Group: v.group, TopicPartition: v.tp, Err: err,
			})
		case !ok:
			l.info.Skipped++
		case b.IsTransactional():
			l.hold(b.ProducerID(), &v, partition.Offset(r.Offset))
		default:
			l.host(v.group).replay(&v, partition.Offset(r.Offset))
		}
	}
	return l.it.Err()
}

func (l *loader) host(group string) *hosted {
	g := l.groups[group]
	if g == nil {
		g = l.c.newHosted(l.partition, group) // the partition itself has none until it is loaded, and may be resigned meanwhile
		l.groups[group] = g
	}
	return g
}

// hold keeps a transaction's record back until its marker.
func (l *loader) hold(producer int64, r *groupRecord, at partition.Offset) {
	g := l.host(r.group)
	g.replayTransactional(producer, r, at)
	if g.awaitedBy(producer) {
		if l.txns[producer] == nil {
			l.txns[producer] = make(map[*hosted]bool)
		}
		l.txns[producer][g] = true
	}
}

// applyMarker ends a transaction: its offsets count from here on, or never did.
func (l *loader) applyMarker(producer int64, r *batch.Record) {
	m, ok := readMarker(producer, r)
	if !ok {
		l.info.Skipped++
		return
	}
	for g := range l.txns[producer] {
		g.stepMarker(m)
	}
	delete(l.txns, producer)
}

// readMarker reads a control record; ok is false for those that end no transaction.
func readMarker(producer int64, r *batch.Record) (m markerEvent, ok bool) {
	c, err := batch.ParseControl(r)
	if err != nil || !c.IsMarker() {
		return m, false
	}
	return markerEvent{producer: producer, at: partition.Offset(r.Offset), commit: c.Type == batch.ControlCommit}, true
}

// corrupt counts a record, or a range, that cannot be read, and tells.
func (l *loader) corrupt(i CorruptInfo) {
	i.Partition = l.partition.index
	if i.Key == nil {
		l.info.CorruptRanges++
	}
	l.c.mu.Lock()
	defer l.c.release()
	l.c.tellLocked(i)
}

// adoptTopics gives offsets that a broker has written without a topic id the id of the topic that has the name now.
func (l *loader) adoptTopics(ctx context.Context) error {
	topics := make(map[string]bool)
	for _, g := range l.groups {
		for tp, o := range g.machine.offsets {
			if o.TopicID.IsZero() {
				topics[tp.Topic] = true
			}
		}
	}
	metadata, err := l.c.topics(ctx, topics)
	if err != nil {
		return err
	}
	for _, g := range l.groups {
		for tp, o := range g.machine.offsets {
			if m := metadata[tp.Topic]; o.TopicID.IsZero() && m.Err == nil {
				o.TopicID = m.ID
				g.machine.offsets[tp] = o
			}
		}
	}
	return nil
}
