package consumer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"time"

	"github.com/partlog/partlog/partition"
)

// Table is a topic as a map: of each key the value of its last record. It is made for compacted topics (cleanup.policy=compact), which
// keep just that. A record with a null value removes its key. One goroutine reads the topic, from its first record at each OpenTable;
// everything is in memory.
//
// All methods are safe for any number of goroutines.
type Table[K comparable, V any] struct {
	source Source
	topic  string
	config TableConfig
	feed   *feed
	key    Decoder[K]
	value  Decoder[V]

	life      context.Context
	end       context.CancelFunc
	done      chan struct{}
	interrupt chan struct{} // holds one token: somebody waits for a bounded round

	mu       sync.RWMutex // guards all below
	entries  map[K]Entry[V]
	bytes    int64
	waiters  []chan struct{} // closed after the next bounded round
	watchers map[*watcher[K]]struct{}
	stats    TableStats
	err      error // why the reader has ended
}

// Entry is what a table has of a key.
type Entry[V any] struct {
	Value     V
	Partition int32
	Offset    partition.Offset // of the record
	Timestamp time.Time
	size      int64
}

// TableConfig configures a table. The zero value is valid.
type TableConfig struct {
	// MaxBytes bounds the keys and values in the table, as long as they are in the log. Default 0: no bound. A table that
	// would be larger ends with *TableFullError: half a table would be a wrong one.
	MaxBytes int64

	// SkipUndecodable leaves out records that the decoders refuse, and counts them. Otherwise they end the table.
	SkipUndecodable bool

	// Read says how records are read, as in ProjectionConfig.
	Read Config
}

// TableStats are a table's figures.
type TableStats struct {
	Keys        int
	Bytes       int64 // of keys and values
	Records     int64 // applied since OpenTable
	Undecodable int64 // left out (SkipUndecodable)
	NullKeys    int64 // records without a key, left out: they belong to no entry
	CaughtUp    bool  // everything that was there at OpenTable is in the table
}

// TableFullError is a table that has reached MaxBytes.
type TableFullError struct {
	Topic    string
	MaxBytes int64
	Keys     int
}

// Error names the topic, the bound and how many keys were in the table.
func (e *TableFullError) Error() string {
	return fmt.Sprintf("table of topic %q is full: %d keys take MaxBytes=%d", e.Topic, e.Keys, e.MaxBytes)
}

// OpenTable begins to read a topic into a table and returns at once: CaughtUp waits until it is restored. Close ends it.
// Errors: *partition.ConfigError, partition.ErrUnknownTopicOrPartition, ctx's.
func OpenTable[K comparable, V any](ctx context.Context, s Source, topic string, key Decoder[K], value Decoder[V], c TableConfig) (*Table[K, V], error) {
	if c.MaxBytes < 0 {
		return nil, fmt.Errorf("open table: %w", &partition.ConfigError{Key: "MaxBytes", Value: fmt.Sprint(c.MaxBytes), Range: "0 (no bound) or more"})
	}
	t := &Table[K, V]{
		source: s, topic: topic, config: c, key: key, value: value, done: make(chan struct{}), interrupt: make(chan struct{}, 1),
		entries: make(map[K]Entry[V]), watchers: make(map[*watcher[K]]struct{}),
	}
	t.feed = newFeed(s, []string{topic}, c.Read, t.apply)
	if _, err := t.feed.partitions(ctx); err != nil {
		return nil, fmt.Errorf("open table of topic %q: %w", topic, err)
	}
	t.life, t.end = context.WithCancel(context.Background())
	go t.run()
	return t, nil
}

// run is the table's goroutine: a bounded round for whoever waits for CaughtUp, and at first; otherwise the endless one.
func (t *Table[K, V]) run() {
	defer close(t.done)
	for restored := false; ; restored = true {
		t.mu.Lock()
		waiters := t.waiters
		t.waiters = nil
		t.mu.Unlock()
		var err error
		if bounded := !restored || len(waiters) > 0; bounded {
			err = t.feed.round(t.life, UntilEnd())
		} else {
			err = t.feed.watched(t.life, t.interrupt)
		}
		t.mu.Lock()
		t.stats.CaughtUp = t.stats.CaughtUp || err == nil
		t.mu.Unlock()
		if err != nil {
			t.fail(err)
		}
		for _, w := range waiters {
			close(w)
		}
		if err != nil {
			return
		}
	}
}

// fail ends the table for whoever waits.
func (t *Table[K, V]) fail(err error) {
	if t.life.Err() != nil {
		err = ErrClosed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = fmt.Errorf("table of topic %q: %w", t.topic, err)
	for _, w := range t.waiters {
		close(w)
	}
	t.waiters = nil
	for w := range t.watchers {
		w.wake()
	}
}

// apply puts one record into the table.
func (t *Table[K, V]) apply(r Record) error {
	if r.Key == nil {
		t.mu.Lock()
		t.stats.NullKeys++
		t.mu.Unlock()
		return nil
	}
	var at Envelope
	rec, err := decode(&at, r, t.key, t.value)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		if t.config.SkipUndecodable {
			t.stats.Undecodable++
			return nil
		}
		return err
	}
	size := int64(len(r.Key) + len(r.Value))
	bytes := t.bytes - t.entries[rec.Key].size
	if rec.ValueNull {
		delete(t.entries, rec.Key)
	} else {
		if bytes += size; t.config.MaxBytes > 0 && bytes > t.config.MaxBytes {
			return &TableFullError{Topic: t.topic, MaxBytes: t.config.MaxBytes, Keys: len(t.entries)}
		}
		t.entries[rec.Key] = Entry[V]{Value: rec.Value, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp, size: size}
	}
	t.bytes = bytes
	t.stats.Records++
	for w := range t.watchers {
		w.note(rec.Key)
	}
	return nil
}

// Get returns the value of a key; false if the table has none. Before CaughtUp it may be an old one, or missing.
func (t *Table[K, V]) Get(key K) (V, bool) {
	e, ok := t.Lookup(key)
	return e.Value, ok
}

// Lookup returns the value of a key with the place of its record: what an append that expects it to be the last one names.
func (t *Table[K, V]) Lookup(key K) (Entry[V], bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e, ok := t.entries[key]
	return e, ok
}

// Range walks a snapshot of the table as it is when the walk begins, in no order. Values are shared with the table: do not change
// what they point to.
func (t *Table[K, V]) Range() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		t.mu.RLock()
		snapshot := maps.Clone(t.entries)
		t.mu.RUnlock()
		for k, e := range snapshot {
			if !yield(k, e.Value) {
				return
			}
		}
	}
}

// CaughtUp waits until everything that is in the topic now is in the table: after OpenTable, until it is restored; after a Send, until
// it shows what was sent. It is not fooled by an empty topic, or by one that ends in aborted transactions. Errors: ctx's, and why the
// table has ended: ErrClosed, *TableFullError, *DecodeError, or the source's.
func (t *Table[K, V]) CaughtUp(ctx context.Context) error {
	w := make(chan struct{})
	t.mu.Lock()
	if t.err != nil {
		defer t.mu.Unlock()
		return t.err
	}
	t.waiters = append(t.waiters, w)
	t.mu.Unlock()
	select {
	case t.interrupt <- struct{}{}:
	default:
	}
	select {
	case <-w:
		return t.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ended returns why the table has ended; nil if it has not.
func (t *Table[K, V]) ended() error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.err
}

// Stats returns the table's figures.
func (t *Table[K, V]) Stats() TableStats {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.stats
	s.Keys, s.Bytes = len(t.entries), t.bytes
	return s
}

// Close ends the table's reading and its watches, and waits for them. What is in it can still be looked at. It may be
// called twice. An error is why the table had ended before.
func (t *Table[K, V]) Close() error {
	t.end()
	<-t.done
	if err := t.ended(); err != nil && !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}
