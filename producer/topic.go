package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/partition"
)

// topic is what the producer knows of one topic, whatever becomes of it, until nothing has been sent to it for
// MetadataMaxIdle and another topic comes.
type topic struct {
	name  string
	facts atomic.Pointer[facts]
	used  atomic.Int64 // when the last batch began, in nanoseconds since 1970

	mu    sync.Mutex // guards over, taken to add to lanes; never while holding a lane's mu
	over  bool       // forgotten
	lanes atomic.Pointer[[]atomic.Pointer[lane]]
}

// facts are one answer of Backend.Metadata.
type facts struct {
	id         partition.TopicID
	partitions int32
	limit      int // max.message.bytes
	options    batch.Options
	known      time.Time
}

// errGone says that a topic, or a partition of it, that the producer knew is no more.
func errGone(tp partition.TopicPartition) error {
	return fmt.Errorf("send to %s: %w", tp, partition.ErrUnknownTopicOrPartition)
}

// topic returns the topic, asking the backend if it is not known yet.
func (p *Producer) topic(ctx context.Context, name string) (*topic, error) {
	if t := p.firstTopic.Load(); t != nil && t.name == name { // most producers have one
		return t, nil
	}
	if t := (*p.topics.Load())[name]; t != nil {
		return t, nil
	}
	f, err := p.ask(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("send to topic %q: %w", name, err)
	}
	p.topicsMu.Lock()
	defer p.topicsMu.Unlock()
	old := *p.topics.Load()
	if t := old[name]; t != nil {
		return t, nil
	}
	t := &topic{name: name}
	t.facts.Store(f)
	t.used.Store(f.known.UnixNano())
	t.lanes.Store(new([]atomic.Pointer[lane]))
	m := maps.Clone(old)
	p.forgetIdle(m, f.known)
	m[name] = t
	p.topics.Store(&m)
	p.firstTopic.CompareAndSwap(nil, t)
	return t, nil
}

// ask gets a topic's facts from the backend, waiting up to MaxBlock.
func (p *Producer) ask(ctx context.Context, name string) (*facts, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := p.cfg.Clock.AfterFunc(p.cfg.MaxBlock, func() { cancel(errMaxBlock) })
	defer stop()
	defer context.AfterFunc(p.life, func() { cancel(ErrClosed) })()
	all, err := p.backend.Metadata(ctx, []string{name})
	if err != nil {
		switch cause := context.Cause(ctx); {
		case cause == errMaxBlock:
			return nil, fmt.Errorf("no metadata within MaxBlock=%s: %w", p.cfg.MaxBlock, partition.ErrTimeout)
		case cause == ErrClosed:
			return nil, ErrClosed
		}
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("backend described %d topics instead of 1: %w", len(all), partition.ErrUnknownTopicOrPartition)
	}
	m := &all[0]
	switch {
	case m.Err != nil:
		return nil, m.Err
	case m.Internal:
		return nil, fmt.Errorf("topic is internal: %w", partition.ErrInvalidTopic)
	case len(m.Partitions) == 0:
		return nil, fmt.Errorf("topic has no partitions: %w", partition.ErrUnknownTopicOrPartition)
	}
	codec := p.cfg.Compression
	if c, ok := p.cfg.TopicCompression[name]; ok {
		codec = c
	}
	if m.Compression != partition.CodecProducer {
		codec = m.Compression
	}
	level := p.cfg.CompressionLevel
	if codec.CheckLevel(level) != nil { // the topic's choice; the level was meant for ours
		level = compress.DefaultLevel
	}
	limit := m.MaxMessageBytes
	if limit <= 0 {
		limit = maxDecompressed
	}
	return &facts{
		id:         m.ID,
		partitions: int32(len(m.Partitions)),
		limit:      limit,
		options:    batch.Options{Codec: codec, Level: level, Idempotent: !p.cfg.DisableIdempotence, Transactional: p.cfg.TransactionalID != "", ProducerID: -1, Epoch: -1, BaseSequence: -1},
		known:      p.cfg.Clock.Now(),
	}, nil
}

// refresh asks for a topic again. That it is unknown now is an error; the old facts stay, for batches on their way.
func (p *Producer) refresh(ctx context.Context, t *topic) error {
	f, err := p.ask(ctx, t.name)
	if err != nil {
		return err
	}
	before := t.facts.Swap(f)
	if before.id != f.id && p.cfg.Events.TopicChanged != nil {
		p.guard("event", func() { p.cfg.Events.TopicChanged(t.name, before.id, f.id) })
	}
	return nil
}

// refreshOld asks for a topic again, in the background and one at a time, if what is known is older than MetadataMaxAge.
func (p *Producer) refreshOld(t *topic, f *facts, now time.Time) {
	if now.Sub(f.known) < p.cfg.MetadataMaxAge || !p.refreshing.CompareAndSwap(false, true) {
		return
	}
	again := *f
	again.known = now // one attempt per age, whatever comes of it
	t.facts.CompareAndSwap(f, &again)
	if !p.background(func() {
		defer p.refreshing.Store(false)
		// A failure is not lost: the next append says the same.
		_ = p.refresh(p.life, t)
	}) {
		p.refreshing.Store(false)
	}
}

// lane returns the lane of partition n, which exists, or nil if the topic has been forgotten. A lane is made when its
// partition is first used.
func (p *Producer) lane(t *topic, n int32) *lane {
	if lanes := *t.lanes.Load(); int(n) < len(lanes) {
		if ln := lanes[n].Load(); ln != nil {
			return ln
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return nil
	}
	lanes := *t.lanes.Load()
	if int(n) >= len(lanes) {
		grown := make([]atomic.Pointer[lane], max(int(t.facts.Load().partitions), int(n)+1))
		for i := range lanes {
			grown[i].Store(lanes[i].Load())
		}
		t.lanes.Store(&grown)
		lanes = grown
	}
	ln := lanes[n].Load()
	if ln == nil {
		ln = newLane(p, t, n)
		lanes[n].Store(ln)
		if p.closed.Load() { // Close may have missed it
			ln.mu.Lock()
			ln.closed = true
			ln.mu.Unlock()
		}
	}
	return ln
}

// eachLane calls f with every lane there is.
func (p *Producer) eachLane(f func(*lane)) {
	for _, t := range *p.topics.Load() {
		lanes := *t.lanes.Load()
		for i := range lanes {
			if ln := lanes[i].Load(); ln != nil {
				f(ln)
			}
		}
	}
}

// choose returns the partition of a record: its own, or the partitioner's.
func (p *Producer) choose(ctx context.Context, t *topic, r *Record) (n int32, err error) {
	f := t.facts.Load()
	if r.Partition.set {
		n = r.Partition.partition
		if n >= 0 && n >= f.partitions { // it may have been added since
			if err := p.refresh(ctx, t); err != nil {
				return -1, fmt.Errorf("send to topic %q: %w", t.name, err)
			}
			f = t.facts.Load()
		}
		if n < 0 || n >= f.partitions {
			return -1, fmt.Errorf("send to topic %q: partition %d of %d: %w", t.name, n, f.partitions, partition.ErrUnknownTopicOrPartition)
		}
		return n, nil
	}
	if n, err = p.partitionOf(r, f.partitions); err != nil {
		return -1, err
	}
	if n < 0 || n >= f.partitions {
		return -1, fmt.Errorf("send to topic %q: partitioner chose %d of %d: %w", t.name, n, f.partitions, partition.ErrUnknownTopicOrPartition)
	}
	return n, nil
}

// partitionOf asks the partitioner, whose panic refuses the record.
func (p *Producer) partitionOf(r *Record, partitions int32) (n int32, err error) {
	defer p.catch("partitioner", &err)
	return p.cfg.Partitioner.Partition(r.Topic, r.Key, r.Value, partitions), nil
}

// errForgotten says that a lane is not in use any more, and that its topic is to be asked for again.
var errForgotten = errors.New("topic has been forgotten")

// forgetIdle takes the topics out of m to which nothing has been sent for MetadataMaxIdle. It is called with topicsMu
// held, when a topic comes: so what is remembered is bounded by what is in use.
func (p *Producer) forgetIdle(m map[string]*topic, now time.Time) {
	if p.cfg.TransactionalID != "" && !p.txn.bumps.Load() {
		return // sequences go on from one transaction to the next, and the lanes know them
	}
	for name, t := range m {
		if now.Sub(time.Unix(0, t.used.Load())) >= p.cfg.MetadataMaxIdle && p.forget(t) {
			delete(m, name)
			p.firstTopic.CompareAndSwap(t, nil)
		}
	}
}

// forget ends the lanes of a topic that have nothing on their way, and reports whether that is all of them.
func (p *Producer) forget(t *topic) (all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lanes := *t.lanes.Load()
	all = true
	for i := range lanes {
		ln := lanes[i].Load()
		if ln == nil {
			continue
		}
		ln.mu.Lock()
		if ln.tx != nil && !ln.txOver || !ln.idle() || ln.closed || ln.results != nil || ln.delivering {
			all = false
			ln.mu.Unlock()
			continue
		}
		ln.forgotten, ln.txOver = true, true
		ln.count.addTo(&p.forgotten)
		id := ln.id
		ln.mu.Unlock()
		lanes[i].Store(nil)
		p.idMu.Lock()
		if p.id.ID == id.ID {
			p.id = partition.NoProducerID // the partition's leader knows sequences of it that nobody here does
		}
		p.idMu.Unlock()
	}
	if all { // nobody makes a lane of a topic that is not in the map
		t.over = true
	}
	return all
}

// moved reports whether an append's error means that the topic is not what the producer knows.
func moved(err error) bool {
	return errors.Is(err, partition.ErrUnknownTopicOrPartition) || errors.Is(err, partition.ErrUnknownTopicID)
}
