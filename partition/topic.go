package partition

import (
	"context"
	"time"
)

// Topic is a handle of one topic of a Store. It stays a handle of that topic: when the topic has been deleted its
// methods return ErrUnknownTopicOrPartition, also if another topic of the same name has been created.
type Topic struct {
	s *Store
	t *topic
}

// Name returns the topic's name.
func (t *Topic) Name() string { return t.t.name }

// ID returns the topic's id.
func (t *Topic) ID() TopicID { return t.t.id }

// Partitions returns how many partitions the topic has now.
func (t *Topic) Partitions() int32 { return int32(len(*t.t.parts.Load())) }

// Partition returns a handle of one partition: ErrUnknownTopicOrPartition outside [0, Partitions).
func (t *Topic) Partition(i int32) (*Partition, error) {
	if t.s.closed.Load() {
		return nil, ErrClosed
	}
	if t.t.deleted.Load() {
		return nil, unknownTopic(t.t.name)
	}
	p, err := t.t.part(i)
	if err != nil {
		return nil, err
	}
	return &Partition{p: p}, nil
}

// Partition is a handle of one partition. Any number of goroutines may use it.
type Partition struct{ p *part }

// TopicPartition returns the partition's name.
func (p *Partition) TopicPartition() TopicPartition { return p.p.tp }

// Append appends one batch that this process built, as Store.Append does.
func (p *Partition) Append(ctx context.Context, batch []byte, acks Acks) (AppendResult, error) {
	return p.p.append(ctx, batch, appendOptions{acks: acks})
}

// Fetch returns whole batches from the one that holds offset on, below the high watermark and at most maxBytes, but
// at least one; nothing at the high watermark. It does not wait. The bytes are borrowed until the result's Lease is
// released; r is overwritten.
func (p *Partition) Fetch(offset Offset, maxBytes int, r *FetchResult) error {
	r.TopicPartition = p.p.tp
	if err := p.p.led(); err != nil {
		r.fail(err)
		return err
	}
	p.p.read(offset, maxBytes, true, false, r)
	return r.Err
}

// ReadCopy appends to dst whole batches from the one that holds offset on, below the high watermark and at most
// maxBytes, but at least one, and returns the offset to go on from. At the high watermark it appends nothing; it does
// not wait. The bytes are the caller's: a fault in a mapping is an error here.
func (p *Partition) ReadCopy(dst []byte, offset Offset, maxBytes int) ([]byte, Offset, error) {
	l, err := p.p.open()
	if err == nil {
		err = p.p.led()
	}
	if err != nil {
		return dst, offset, err
	}
	hw := p.p.highWatermark(l)
	if offset >= hw && offset <= l.End() {
		return dst, offset, nil
	}
	out, next, err := l.ReadInto(dst, offset, hw, maxBytes)
	p.p.counters.bytesOut.Add(int64(len(out) - len(dst)))
	return out, next, p.p.gone(err)
}

// HighWatermark returns the offset up to which acknowledged records can be read.
func (p *Partition) HighWatermark() (Offset, error) {
	l, err := p.p.open()
	if err != nil {
		return 0, err
	}
	return p.p.highWatermark(l), nil
}

// LogStart returns the smallest offset that can be read.
func (p *Partition) LogStart() (Offset, error) {
	l, err := p.p.open()
	if err != nil {
		return 0, err
	}
	return l.Start(), nil
}

// OffsetForTimestamp is Store.ListOffsets for this partition.
func (p *Partition) OffsetForTimestamp(ctx context.Context, timestamp int64) (Offset, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return p.p.offsetFor(timestamp)
}

// DeleteRecords is Store.DeleteRecords for this partition.
func (p *Partition) DeleteRecords(ctx context.Context, before Offset) (Offset, error) {
	return p.p.s.deleteRecords(ctx, p.p, before)
}

// TopicDescription is what DescribeTopic and ListTopics return.
type TopicDescription struct {
	Name       string
	ID         TopicID
	Internal   bool
	Partitions int32
	Created    time.Time
	// Config holds every setting by Kafka's key, defaults included; Overrides those that the topic sets itself.
	Config    map[string]string
	Overrides map[string]string
}
