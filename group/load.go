package group

import (
	"context"
	"errors"
	"fmt"

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
	c.mu.Lock()
	n := c.count
	c.mu.Unlock()
	if n == 0 {
		// A topic that a broker has made may have any number of partitions. One that is still to be made will have
		// the usual number, so nothing is remembered until it is there.
		metadata, err := c.topics(ctx, map[string]bool{OffsetsTopic: true})
		if err != nil {
			return nil, err
		}
		if n = int32(len(metadata[OffsetsTopic].Partitions)); n > 0 {
			c.mu.Lock()
			c.count = n
			c.mu.Unlock()
		} else {
			n = OffsetsPartitions
		}
	}
	index := PartitionFor(group, n)
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return nil, partition.ErrClosed
	}
	p := c.partitions[index]
	if p == nil {
		p = &offsetsPartition{index: index, ready: make(chan struct{}), groups: make(map[string]*hosted)}
		c.partitions[index] = p
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

// load reads a partition. If that fails, those who wait are told, and the next one who asks starts another load.
func (c *coordinator) load(p *offsetsPartition) {
	l := loader{c: c, partition: p, groups: make(map[string]*hosted), open: make(map[int64][]groupRecord)}
	started := c.config.Clock.Now()
	err := l.run()
	c.mu.Lock()
	defer c.unlock()
	defer close(p.ready)
	if err != nil {
		p.err = fmt.Errorf("load %s-%d: %w", OffsetsTopic, p.index, err)
		delete(c.partitions, p.index)
		return
	}
	p.open = l.open
	before := c.stats.RemovedMembers
	for _, g := range l.groups {
		c.stepLocked(g, loadedEvent{})
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
	open      map[int64][]groupRecord // offsets of transactions without a marker, by producer id
	info      LoadedInfo
	it        batch.Iterator
	buf       []byte
}

func (l *loader) run() error {
	ctx := context.Background() // the load is for all who will ask, not for the first one
	tp := partition.TopicPartition{Topic: OffsetsTopic, Partition: l.partition.index}
	offset, err := l.c.backend.ListOffsets(ctx, tp, partition.TimestampEarliest)
	if errors.Is(err, partition.ErrUnknownTopicOrPartition) {
		return nil // nothing has been committed in this store
	} else if err != nil {
		return err
	}
	var results []partition.FetchResult
	for {
		l.c.mu.Lock()
		closing := l.c.closing
		l.c.mu.Unlock()
		if closing {
			return partition.ErrClosed
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
		offset = next
	}
	return l.adoptTopics(ctx)
}

// apply replays what was fetched and returns the offset after it.
func (l *loader) apply(r *partition.FetchResult, offset partition.Offset) (partition.Offset, error) {
	defer r.Lease.Release()
	if _, ok := errors.AsType[*log.CorruptionError](r.Err); ok && r.CorruptNext > offset {
		// Better to go on with older offsets than with none: what they lack is consumed once more.
		l.info.CorruptRanges++
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
		if b.CheckCRC() != nil || l.applyBatch(b, int64(offset)) != nil {
			l.info.CorruptRanges++
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
		v, ok, err := decodeRecord(r.Key, r.Value)
		switch {
		case err != nil || !ok:
			l.info.Skipped++
		case b.IsTransactional():
			l.open[b.ProducerID()] = append(l.open[b.ProducerID()], v)
		default:
			l.applyRecord(&v)
		}
	}
	return l.it.Err()
}

// applyMarker ends a transaction: its offsets count from here on, or never did.
func (l *loader) applyMarker(producerID int64, r *batch.Record) {
	c, err := batch.ParseControl(r)
	if err != nil || !c.IsMarker() {
		l.info.Skipped++
		return
	}
	if c.Type == batch.ControlCommit {
		for _, v := range l.open[producerID] {
			l.applyRecord(&v)
		}
	}
	delete(l.open, producerID)
}

func (l *loader) applyRecord(v *groupRecord) {
	g := l.groups[v.group]
	if g == nil {
		g = l.c.hostLocked(l.partition, v.group)
		l.groups[v.group] = g
	}
	g.replay(v)
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
