package consumer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// feed reads all partitions of some topics in rounds: one that ends where the end was when it began, or one that goes on until it is
// interrupted. Between two rounds nothing is read, and places say where the next one begins; so whoever wants to know that
// everything there is has been read interrupts the endless round and has a bounded one run. It belongs to one goroutine.
type feed struct {
	source Source
	topics []string
	config Config
	apply  func(Record) error
	places map[partition.TopicPartition]Position
}

func newFeed(s Source, topics []string, c Config, apply func(Record) error) *feed {
	if c.Clock == nil {
		c.Clock = clock.System
	}
	return &feed{source: s, topics: topics, config: c, apply: apply, places: make(map[partition.TopicPartition]Position)}
}

// partitions returns the partitions that there are now.
func (f *feed) partitions(ctx context.Context) ([]partition.TopicPartition, error) {
	metadata, err := f.source.Metadata(ctx, f.topics)
	if err != nil {
		return nil, err
	}
	var tps []partition.TopicPartition
	for _, m := range metadata {
		if m.Err != nil {
			return nil, m.Err
		}
		for _, p := range m.Partitions {
			tps = append(tps, partition.TopicPartition{Topic: m.Topic, Partition: p.Partition})
		}
	}
	return tps, nil
}

// round reads from places on: until the bound, if there is one, until ctx is done, or until apply fails. Partitions that are new
// begin with their first record.
func (f *feed) round(ctx context.Context, until Bound) error {
	tps, err := f.partitions(ctx)
	if err != nil {
		return err
	}
	assignments := make([]Assignment, len(tps))
	for i, tp := range tps {
		assignments[i] = Assignment{TopicPartition: tp, From: f.places[tp], Until: until}
	}
	c, err := Assign(ctx, f.source, assignments, f.config)
	if err != nil {
		return err
	}
	var failed error
	for r, err := range c.Records(ctx) {
		if err == nil {
			if failed = f.apply(r); failed != nil {
				break // not acknowledged: the place stays before it
			}
			continue
		}
		if failed = err; !c.skippable(err) {
			break
		}
		failed = nil
	}
	for _, tp := range tps {
		k := c.cursorOf(tp)
		if k == nil {
			continue
		}
		// Offset and epoch belong together: behind the last record may lie batches of a later epoch that nobody sees.
		if at, epoch, _ := k.ledger(); at >= 0 {
			f.places[tp] = AtOffset(at).Epoch(epoch)
		}
	}
	return errors.Join(failed, c.Close())
}

// watched runs an endless round that is interrupted when a topic has other partitions than before (looked at every
// Config.MetadataMaxAge), when interrupt is, or with ctx. Nil says that the next round is due.
func (f *feed) watched(ctx context.Context, interrupt <-chan struct{}) error {
	before, err := f.partitions(ctx)
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	look := newTicker(f.config.Clock, orDefault(f.config.MetadataMaxAge, 5*time.Second))
	defer look.stop()
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		defer cancel()
		for {
			select {
			case <-interrupt:
				return
			case <-inner.Done():
				return
			case <-look.c:
				if now, err := f.partitions(inner); err != nil || !slices.Equal(now, before) {
					return
				}
				look.again()
			}
		}
	}()
	err = f.round(inner, Bound{})
	if ctx.Err() == nil && inner.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
