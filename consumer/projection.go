package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Checkpoint keeps how far a projection has come. Its methods are called by the goroutine of Project, one at a time.
type Checkpoint interface {
	// Load returns the offset of the next record of each of these partitions; those without one are left out, and begin
	// with their first record. It is asked once, and for partitions that have been added since.
	Load(ctx context.Context, tps []partition.TopicPartition) (map[partition.TopicPartition]group.CommittedOffset, error)
	// Save stores offsets that were reached. A host that writes the offset together with its result, in one
	// transaction of its database, does that where it applies the record and has nothing to do here.
	Save(ctx context.Context, offsets map[partition.TopicPartition]group.CommittedOffset) error
}

// GroupCheckpoint keeps a projection's checkpoint as the committed offsets of a group that has no members.
func GroupCheckpoint(g *group.ConsumerGroup) Checkpoint { return groupCheckpoint{g} }

type groupCheckpoint struct{ group *group.ConsumerGroup }

// Load implements Checkpoint.
func (g groupCheckpoint) Load(ctx context.Context, tps []partition.TopicPartition) (map[partition.TopicPartition]group.CommittedOffset, error) {
	if len(tps) == 0 {
		return nil, nil
	}
	return g.group.Committed(ctx, tps...)
}

// Save implements Checkpoint.
func (g groupCheckpoint) Save(ctx context.Context, offsets map[partition.TopicPartition]group.CommittedOffset) error {
	return g.group.Commit(ctx, offsets)
}

// ProjectionConfig configures Project. Topics is required.
type ProjectionConfig struct {
	// Topics are read whole: all their partitions, also those that are added meanwhile.
	Topics []string

	// Checkpoint is where the projection goes on. Nil: it is built anew each time, as one that lives in memory is.
	Checkpoint Checkpoint

	// Rebuild begins with the first records again, whatever the checkpoint says. The host empties its result before.
	Rebuild bool

	// SaveInterval is how often the checkpoint is saved while records come. Default 1 s. It is also saved when the
	// projection has caught up, and at its end.
	SaveInterval time.Duration

	// CaughtUp is called, once, by the goroutine of Project, when everything has been applied that was there when Project
	// began: also if that was nothing, or nothing but aborted transactions.
	CaughtUp func()

	// Once ends Project when it has caught up.
	Once bool

	// Read says how records are read: Isolation, OnCorruption, byte limits, MetadataMaxAge (when new partitions are
	// found), Interceptors, Events, Clock. Topics, Until and what belongs to groups must be zero.
	Read Config
}

// Project applies every record of the topics, one after the other, on the calling goroutine: in offset order within a partition, each
// at least once, and nothing is left out. What apply makes of the records is the projection: a view that can be built again at any time
// from the log. It ends when ctx is done, with its error, with the first error of apply, whose record is applied again by the next
// Project with this Checkpoint, or, with Once, with nil.
//
// Records between the last save and a crash are applied again: apply must be idempotent, or the host must keep the offset with its
// result and skip what is below it. Other errors: partition.ErrUnknownTopicOrPartition, *partition.ConfigError, *TruncationError,
// *log.CorruptionError, those of the Checkpoint, ErrClosed.
func Project(ctx context.Context, s Source, c ProjectionConfig, apply func(Record) error) error {
	if len(c.Topics) == 0 {
		return fmt.Errorf("project: %w", &partition.ConfigError{Key: "Topics", Value: "none", Range: "one topic or more"})
	}
	p := &projection{config: c}
	p.feed = newFeed(s, c.Topics, c.Read, func(r Record) error {
		if err := apply(r); err != nil {
			return err
		}
		return p.applied(ctx, r)
	})
	err := p.run(ctx)
	if p.dirty != nil && c.Checkpoint != nil {
		// What was applied is worth saving also when ctx is what ended it.
		err = errors.Join(err, p.save(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return fmt.Errorf("project: %w", err)
	}
	return nil
}

// projection is one run of Project.
type projection struct {
	config ProjectionConfig
	feed   *feed
	loaded map[partition.TopicPartition]bool
	dirty  map[partition.TopicPartition]group.CommittedOffset // reached, and not saved
	saved  time.Time
}

func (p *projection) run(ctx context.Context) error {
	p.saved = p.feed.config.Clock.Now()
	for bound := UntilEnd(); ; bound = (Bound{}) {
		if err := p.load(ctx); err != nil {
			return err
		}
		if bound == (Bound{}) {
			if err := p.feed.watched(ctx, nil); err != nil {
				return err
			}
			continue
		}
		if err := p.feed.round(ctx, bound); err != nil {
			return err
		}
		if err := p.save(ctx); err != nil {
			return err
		}
		if p.config.CaughtUp != nil {
			p.config.CaughtUp()
		}
		if p.config.Once {
			return nil
		}
	}
}

// load asks the checkpoint for partitions that it has not been asked for.
func (p *projection) load(ctx context.Context) error {
	if p.config.Checkpoint == nil || p.config.Rebuild {
		return nil
	}
	tps, err := p.feed.partitions(ctx)
	if err != nil {
		return err
	}
	var ask []partition.TopicPartition
	for _, tp := range tps {
		if !p.loaded[tp] {
			ask = append(ask, tp)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	found, err := p.config.Checkpoint.Load(ctx, ask)
	if err != nil {
		return fmt.Errorf("load checkpoint: %w", err)
	}
	if p.loaded == nil {
		p.loaded = make(map[partition.TopicPartition]bool)
	}
	for _, tp := range ask {
		p.loaded[tp] = true
		if o, ok := found[tp]; ok {
			p.feed.places[tp] = AtOffset(o.Offset).Epoch(o.LeaderEpoch)
		}
	}
	return nil
}

// applied notes a record, and saves the checkpoint when it is time.
func (p *projection) applied(ctx context.Context, r Record) error {
	if p.config.Checkpoint == nil {
		return nil
	}
	if p.dirty == nil {
		p.dirty = make(map[partition.TopicPartition]group.CommittedOffset)
	}
	p.dirty[partition.TopicPartition{Topic: r.Topic, Partition: r.Partition}] = group.CommittedOffset{Offset: r.Offset + 1, LeaderEpoch: r.LeaderEpoch}
	if p.feed.config.Clock.Now().Sub(p.saved) < orDefault(p.config.SaveInterval, time.Second) {
		return nil
	}
	return p.save(ctx)
}

func (p *projection) save(ctx context.Context) error {
	p.saved = p.feed.config.Clock.Now()
	if len(p.dirty) == 0 {
		return nil
	}
	offsets := p.dirty
	p.dirty = nil
	if err := p.config.Checkpoint.Save(ctx, offsets); err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return nil
}
