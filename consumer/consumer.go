package consumer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/group"
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
	// committing has the goroutine that makes CommitAsync's commits, which Close waits for before it leaves the group.
	committing sync.WaitGroup

	closing   sync.Once
	closeDone chan struct{} // closed when Close is through; closeErr is written before
	closeErr  error

	turn    chan struct{} // holds one token; see turn.go
	looping atomic.Bool   // somebody is in Records, Poll or PollBorrowed
	held    bool          // the loop has the turn; the loop's own
	signals atomic.Uint32 // that the loop is to look around

	// Below: owned by the turn.
	cursors  []*cursor
	iterator batch.Iterator
	set      *fetch // whose chunks are being walked
	spare    *fetch
	ahead    *fetch // filled in the background; nil if none is
	at       int    // the chunk of set under way
	first    int    // the cursor that the next fetch asks for first

	inHand             bool    // the loop body has a record
	hand               *cursor // of which, or of which it had the last one: rarely written, for it is a pointer
	handFrom, handNext partition.Offset
	handEpoch          partition.LeaderEpoch

	lent     []*cursor     // of which the last Poll has returned records
	polled   []Record      // of the Poll under way
	calledAt time.Duration // when the last Poll was called, by clock.Elapsed
	borrowed *Borrowed
	late     error // of a Poll that had records to return first
	passed   bool  // the last damage, or lost tail, was gone behind
	someLost bool  // a cursor may have lost its tail
	aborted  aborted
	holding  bool        // records of retry topics wait until they are due; the loop's own
	unwind   atomic.Bool // the loop before was a Work, which has read further than it has finished

	headers      []partition.Header // a block to give pieces of
	shown        Record             // to interceptors
	milliseconds int64              // that timestamp is made of
	timestamp    time.Time
	given        int64 // records of the chunk's cursor since the last tally
	givenBytes   int64

	mu         sync.Mutex // guards what follows; never held over I/O or a caller's function
	closed     bool
	departing  bool // closed, but the listener may still commit
	failure    error
	told       bool // failure has been some loop's last pair
	commands   []command
	wait       context.Context // of a wait that a signal ends
	wake       context.CancelFunc
	assigned   []*cursor        // a copy of cursors for those without the turn
	membership group.Membership // of the generation that assigned them
	rewound    bool             // an aborted transaction: the loop goes back to what is committed
	sent       []txnOffset      // to the transaction under way
	broken     bool             // a partition of the transaction under way was revoked
	async      []asyncCommit    // waiting to be made, in order; the first is under way

	workers atomic.Pointer[workers] // of the Work under way
	worked  workCounters

	waiting atomic.Bool // the loop waits for records: it is not late
	counters
}

// Assign returns a consumer of these partitions, without a group. Positions and bounds are resolved before it returns.
// Nothing is committed; where the reader was is the caller's to keep (Position).
// Errors: partition.ErrUnknownTopicOrPartition, partition.ErrOffsetOutOfRange (a negative one), *partition.ConfigError,
// partition.ErrClosed, ctx's.
func Assign(ctx context.Context, s Source, assignments []Assignment, c Config) (*Consumer, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("assign: %w", err)
	}
	if err := c.validateAlone(); err != nil {
		return nil, fmt.Errorf("assign: %w", err)
	}
	cursors, err := place(ctx, s, assignments, c.Isolation)
	if err != nil {
		return nil, fmt.Errorf("assign: %w", err)
	}
	consumer := newConsumer(s, c)
	consumer.cursors, consumer.assigned = cursors, slices.Clone(cursors)
	consumer.someLost = slices.ContainsFunc(cursors, func(k *cursor) bool { return k.lost != nil })
	return consumer, nil
}

func newConsumer(s Source, c Config) *Consumer {
	life, end := context.WithCancel(context.Background())
	consumer := &Consumer{
		source: s, config: c, clock: c.Clock, life: life, end: end,
		turn: make(chan struct{}, 1), set: new(fetch), spare: new(fetch), closeDone: make(chan struct{}), milliseconds: -1,
	}
	if consumer.clock == nil {
		consumer.clock = clock.System
	}
	consumer.wait, consumer.wake = context.WithCancel(life)
	return consumer
}

// place makes a cursor for each assignment.
func place(ctx context.Context, s Source, assignments []Assignment, i Isolation) ([]*cursor, error) {
	tps := make([]partition.TopicPartition, len(assignments))
	for n, a := range assignments {
		if tps[n] = a.TopicPartition; slices.Contains(tps[:n], tps[n]) {
			return nil, &partition.ConfigError{Key: "assignments", Value: tps[n].String(), Range: "each partition once"}
		}
	}
	metadata, err := topicsOf(ctx, s, tps)
	if err != nil {
		return nil, err
	}
	cursors := make([]*cursor, len(assignments))
	for n, a := range assignments {
		m, err := topicOf(metadata, a.TopicPartition)
		if err != nil {
			return nil, err
		}
		from, err := a.From.resolve(ctx, s, a.TopicPartition, i)
		if err != nil {
			return nil, err
		}
		until, err := a.Until.resolve(ctx, s, a.TopicPartition, i)
		if err != nil {
			return nil, err
		}
		k := newCursor(a.TopicPartition, m.ID, from, until)
		k.leader = m.Partitions[a.Partition].LeaderEpoch
		if a.Until.kind == untilEnd || a.Until.kind == untilTime {
			k.reached = until
		}
		if err := k.check(ctx, s, a.From.leaderEpoch()); err != nil {
			return nil, err
		}
		cursors[n] = k
	}
	return cursors, nil
}

// topicsOf returns the metadata of the partitions' topics.
func topicsOf(ctx context.Context, s Source, tps []partition.TopicPartition) ([]partition.Metadata, error) {
	topics := make(map[string]bool)
	for _, tp := range tps {
		topics[tp.Topic] = true
	}
	if len(topics) == 0 {
		return nil, nil // a nil list would mean all
	}
	return s.Metadata(ctx, slices.Sorted(maps.Keys(topics)))
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
