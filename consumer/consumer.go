package consumer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// Consumer reads the partitions that Assign was given, or those that its group gives it. Records, Poll, PollBorrowed and
// the functions that walk it are for one goroutine at a time; everything else is safe for any.
type Consumer struct {
	source Source
	config Config
	clock  clock.Clock
	member *member // nil without a group

	// life ends with Close; background fetches and commits live in it.
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	// turn is held by whoever may touch cursors, sets and the iterator: the loop from its first step to its last, also
	// while the host's loop body runs; the member while it moves from one generation to the next. It holds one token.
	//
	// The loop gives the turn up only where it looks at signals: between two records. So a change of assignment waits
	// for the record in hand, and for nothing else.
	turn    chan struct{}
	looping atomic.Bool
	held    bool // the loop has the turn; the loop's own
	// signals tell the loop to look around: bit 0 that mu's fields changed, the rest how many wait for the turn.
	signals atomic.Uint32

	// Below: owned by the turn.
	cursors  []*cursor
	iterator batch.Iterator
	set      *fetch // whose chunks are being walked
	spare    *fetch
	ahead    *fetch // filled in the background; nil if none is
	at       int    // the chunk of set under way
	rotation int
	hand     *cursor // whose record the loop body has; nil between records
	handNext partition.Offset
	handFrom partition.Offset
	pollFrom map[*cursor]partition.Offset // what the last Poll gave, to be finished by the next
	borrowed *Borrowed
	late     error // of a Poll that had records to return first

	given, givenBytes int64 // records yielded since the last fetch, of the chunk's cursor

	mu       sync.Mutex // guards what follows; never held over I/O or a caller's function
	closed   bool
	failure  error
	commands []command
	wait     context.Context // of the fetch that waits; cancelled by a signal, made anew by the loop
	wake     context.CancelFunc
	assigned []*cursor // a copy of cursors for those without the turn

	waiting atomic.Bool // the loop waits for records: it is not late
	counters
}

const changed = 1 // bit 0 of signals

// Assign returns a consumer of these partitions, without a group. Positions and bounds are resolved before it returns.
// Nothing is committed; where the reader was is the caller's to keep (Position).
// Errors: partition.ErrUnknownTopicOrPartition, *partition.ConfigError, partition.ErrClosed, ctx's.
func Assign(ctx context.Context, s Source, assignments []Assignment, c Config) (*Consumer, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("assign: %w", err)
	}
	cursors, err := place(ctx, s, assignments)
	if err != nil {
		return nil, fmt.Errorf("assign: %w", err)
	}
	consumer := newConsumer(s, c)
	consumer.cursors, consumer.assigned = cursors, slices.Clone(cursors)
	return consumer, nil
}

func newConsumer(s Source, c Config) *Consumer {
	life, end := context.WithCancel(context.Background())
	consumer := &Consumer{
		source: s, config: c, clock: c.Clock, life: life, end: end,
		turn: make(chan struct{}, 1), set: new(fetch), spare: new(fetch), pollFrom: make(map[*cursor]partition.Offset),
	}
	if consumer.clock == nil {
		consumer.clock = clock.System
	}
	consumer.wait, consumer.wake = context.WithCancel(life)
	return consumer
}

// place makes a cursor for each assignment.
func place(ctx context.Context, s Source, assignments []Assignment) ([]*cursor, error) {
	var topics []string
	for _, a := range assignments {
		if !slices.Contains(topics, a.Topic) {
			topics = append(topics, a.Topic)
		}
	}
	if len(topics) == 0 {
		return nil, nil
	}
	metadata, err := s.Metadata(ctx, topics)
	if err != nil {
		return nil, err
	}
	var cursors []*cursor
	for _, a := range assignments {
		if slices.ContainsFunc(cursors, func(c *cursor) bool { return c.tp == a.TopicPartition }) {
			return nil, &partition.ConfigError{Key: "assignments", Value: a.TopicPartition.String(), Range: "each partition once"}
		}
		m, err := topicOf(metadata, a.TopicPartition)
		if err != nil {
			return nil, err
		}
		from, err := a.From.resolve(ctx, s, a.TopicPartition)
		if err != nil {
			return nil, err
		}
		until, err := a.Until.resolve(ctx, s, a.TopicPartition)
		if err != nil {
			return nil, err
		}
		cursors = append(cursors, newCursor(a.TopicPartition, m.ID, from, until))
	}
	return cursors, nil
}

// topicOf returns the metadata of a partition's topic, or why the partition cannot be read.
func topicOf(metadata []partition.Metadata, tp partition.TopicPartition) (*partition.Metadata, error) {
	for i := range metadata {
		m := &metadata[i]
		if m.Topic != tp.Topic {
			continue
		}
		if m.Err != nil {
			return nil, fmt.Errorf("%s: %w", tp, m.Err)
		}
		if tp.Partition < 0 || int(tp.Partition) >= len(m.Partitions) {
			return nil, fmt.Errorf("%s: %w: the topic has %d partitions", tp, partition.ErrUnknownTopicOrPartition, len(m.Partitions))
		}
		return m, nil
	}
	return nil, fmt.Errorf("%s: %w", tp, partition.ErrUnknownTopicOrPartition)
}

// Close ends the consumer: a loop under way gets ErrClosed in place of its next record, what loops have finished is
// committed, and a member leaves its group. A record that a loop body still has is not acknowledged. It waits for the
// commit, not for the loop, so it may be called inside one. It returns the first failure and may be called again.
func (c *Consumer) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.work.Wait()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	c.signal()
	var err error
	if c.member != nil {
		err = c.member.close()
	}
	c.end()
	c.work.Wait()
	return err
}

// signal makes the loop look at what changed under mu.
func (c *Consumer) signal() {
	c.signals.Or(changed)
	c.mu.Lock()
	wake := c.wake
	c.mu.Unlock()
	wake()
}

// fail ends the iteration with err as its last pair. The first failure stays.
func (c *Consumer) fail(err error) {
	c.mu.Lock()
	if c.failure == nil {
		c.failure = err
	}
	c.mu.Unlock()
	c.signal()
}

// wantTurn makes a loop that holds the turn give it up after the record in hand. Whoever calls it must then take the turn
// or give up, and subtract 2 from signals.
func (c *Consumer) wantTurn() {
	c.signals.Add(2)
	c.mu.Lock()
	wake := c.wake
	c.mu.Unlock()
	wake()
}

func (c *Consumer) returnTurn() { <-c.turn }

// install replaces the cursors. The caller has the turn.
func (c *Consumer) install(cursors []*cursor) {
	for _, old := range c.cursors {
		old.version++ // a fetch under way must not bring anything
	}
	c.cursors, c.at, c.hand = cursors, 0, nil
	c.set.chunks, c.set.faults = c.set.chunks[:0], c.set.faults[:0]
	clear(c.pollFrom)
	c.iterator.Clear()
	c.mu.Lock()
	c.assigned = slices.Clone(cursors)
	c.commands = slices.DeleteFunc(c.commands, func(k command) bool {
		return !slices.ContainsFunc(cursors, func(c *cursor) bool { return c.tp == k.tp })
	})
	c.mu.Unlock()
}

// Assignment returns the partitions that the consumer reads now.
func (c *Consumer) Assignment() []partition.TopicPartition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return partitionsOf(c.assigned)
}

func partitionsOf(cursors []*cursor) []partition.TopicPartition {
	tps := make([]partition.TopicPartition, len(cursors))
	for i, k := range cursors {
		tps[i] = k.tp
	}
	return tps
}
