package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/txn"
)

// offsetsTopic is where consumer groups keep what they have committed (KIP-211 and before: __consumer_offsets).
const offsetsTopic = "__consumer_offsets"

// offsetsTopicConfig is offsets.topic.num.partitions, offsets.topic.segment.bytes and what a broker adds.
var offsetsTopicConfig = TopicConfig{Partitions: 50, CleanupPolicy: CleanupCompact, SegmentBytes: 100 << 20}

// CreateTopic creates a topic and returns its handle. When it returns nil the topic is durable and takes appends.
// After an error of the disk the topic may exist or not, and the next change of topics finds out; with the other
// errors nothing has changed: ErrTopicAlreadyExists, ErrInvalidTopic (the name breaks Kafka's
// rules, or differs from another topic's only in '.' and '_'), ErrInvalidPartitions, *ConfigError, ErrNoSpace,
// ErrReadOnly, ErrClosed.
func (s *Store) CreateTopic(ctx context.Context, name string, c TopicConfig) (*Topic, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.config.Cluster != nil {
		t, err := s.createShared(ctx, name, c)
		if err != nil {
			return nil, fmt.Errorf("create topic: %w", s.closedOr(err))
		}
		return &Topic{s: s, t: t}, nil
	}
	s.admin.Lock()
	t, err := s.createTopic(name, c)
	s.admin.Unlock()
	if err != nil {
		return nil, fmt.Errorf("create topic: %w", s.closedOr(err))
	}
	if f := s.config.Events.TopicCreated; f != nil {
		f(t.name, t.id)
	}
	return &Topic{s: s, t: t}, nil
}

// forCoordinator gives a coordinator's topic, which a host may make before the coordinator does, what the coordinator relies on.
func forCoordinator(name string, c TopicConfig) TopicConfig {
	if name != offsetsTopic && name != txn.Topic {
		return c
	}
	c.CleanupPolicy = CleanupCompact
	if c.Partitions == 0 {
		c.Partitions = offsetsTopicConfig.Partitions
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = offsetsTopicConfig.SegmentBytes
	}
	return c
}

func (s *Store) createTopic(name string, c TopicConfig) (*topic, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if s.readOnly {
		return nil, ErrReadOnly
	}
	if c.ReplicationFactor < -1 || c.ReplicationFactor > 1 || c.Assignment != nil {
		return nil, fmt.Errorf("%w: topic %q: %d, and the store is alone", ErrInvalidReplicationFactor, name, c.ReplicationFactor)
	}
	if err := validTopicName(name); err != nil {
		return nil, err
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	ct, err := s.newTopic(name, c)
	if err != nil {
		return nil, err
	}
	if err := s.directoriesAreFree(name, 0, int32(len(ct.parts))); err != nil {
		return nil, err
	}
	return s.publishTopic(ct)
}

// newTopic returns a topic for the catalogue, after a look at the topics that there are.
func (s *Store) newTopic(name string, c TopicConfig) (*catTopic, error) {
	c = forCoordinator(name, c)
	overrides, err := c.overrides()
	if err != nil {
		return nil, err
	}
	n := c.Partitions
	if n == 0 {
		n = s.config.Topics.Partitions
	}
	if n < 1 || n > maxPartitions {
		return nil, fmt.Errorf("%w: topic %q: %d, want 1 to %d", ErrInvalidPartitions, name, n, maxPartitions)
	}
	if err := s.nameIsFree(name); err != nil {
		return nil, err
	}
	return &catTopic{name: name, id: newUUID(), created: s.config.Clock.Now(), overrides: overrides, parts: make([]catPart, n)}, nil
}

// publishTopic makes a topic of the catalogue durable and live, and gives it directories.
func (s *Store) publishTopic(ct *catTopic) (*topic, error) {
	var e encoder
	e.topic(ct)
	s.mu.Lock()
	err := s.commitLocked(eventTopicCreated, e.buf)
	if err == nil {
		s.refreshLocked(true, nil)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	t := s.index.Load().byName[ct.name]
	if err := s.makeDirectories(t, 0); err != nil {
		return nil, errors.Join(err, s.deleteTopic(t))
	}
	return t, nil
}

func (s *Store) nameIsFree(name string) error {
	index := s.index.Load().byName
	if index[name] != nil {
		return fmt.Errorf("%w: %q", ErrTopicAlreadyExists, name)
	}
	for other := range index {
		if collidesAs(other) == collidesAs(name) {
			return fmt.Errorf("%w: name %q differs from topic %q only in '.' and '_'", ErrInvalidTopic, name, other)
		}
	}
	return nil
}

// directoriesAreFree finds out whether somebody else's directories are in the way.
func (s *Store) directoriesAreFree(name string, from, to int32) error {
	entries, err := s.fs.ReadDir(filepath.Join(s.root, dataDirName))
	if err != nil {
		return fmt.Errorf("topic %q: %w", name, err)
	}
	for _, e := range entries {
		d, err := segment.ParseDirName(e.Name())
		if err == nil && d.State == segment.DirLive && d.Topic == name && d.Partition >= from && d.Partition < to {
			return fmt.Errorf("%w: name %q: a directory of no topic of this store is in the way: %s", ErrInvalidTopic, name,
				filepath.Join(s.root, dataDirName, e.Name()))
		}
	}
	return nil
}

// makeDirectories opens the partitions from index from on, which makes their directories; an internal topic's
// partitions wait for their first append.
func (s *Store) makeDirectories(t *topic, from int32) error {
	if t.internal {
		return nil
	}
	parts := (*t.parts.Load())[from:]
	errs := make([]error, len(parts))
	inParallel(s.config.OpenConcurrency, parts, func(p *part) {
		l, err := p.open()
		if err == nil && len(parts) > 64 {
			err = l.Park() // whoever makes thousands does not write to all of them now
		}
		errs[p.tp.Partition-from] = err
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.fs.SyncDir(filepath.Join(s.root, dataDirName))
}

// ensureOffsetsTopic creates the offsets topic at the first write to it.
func (s *Store) ensureOffsetsTopic(ctx context.Context) error {
	if s.config.Cluster == nil {
		ctx = context.Background()
	}
	_, err := s.CreateTopic(ctx, offsetsTopic, offsetsTopicConfig)
	if errors.Is(err, ErrTopicAlreadyExists) {
		return nil // somebody else's first write
	}
	return err
}

// DeleteTopic deletes a topic and its records. When it returns nil that is durable; files go in the background, and
// bytes that somebody borrows stay readable until their lease ends. Appends and fetches that are under way get
// ErrUnknownTopicOrPartition. Another topic of that name gets another id and inherits nothing.
func (s *Store) DeleteTopic(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.config.Cluster != nil {
		if err := s.deleteShared(ctx, name); err != nil {
			return fmt.Errorf("delete topic: %w", s.closedOr(err))
		}
		return nil
	}
	s.admin.Lock()
	t, err := s.lookupToChange(name)
	if err == nil {
		err = s.deleteTopic(t)
	}
	s.admin.Unlock()
	if err != nil {
		return fmt.Errorf("delete topic: %w", s.closedOr(err))
	}
	if f := s.config.Events.TopicDeleted; f != nil {
		f(t.name, t.id)
	}
	return nil
}

func (s *Store) deleteTopic(t *topic) error {
	var e encoder
	e.id(t.id)
	s.mu.Lock()
	err := s.commitLocked(eventTopicDeleted, e.buf)
	if err == nil {
		s.refreshLocked(true, nil)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.removeTopic(t)
}

// removeTopic closes a topic that is no longer in the catalogue, and has its files removed.
func (s *Store) removeTopic(t *topic) error {
	parts := *t.parts.Load()
	for _, p := range parts {
		_ = p.close() // its records are gone in any case
		p.wakeFetches()
		p.wakeAcks(math.MaxInt64)
	}
	var e encoder
	e.id(t.id)
	if err := s.retire(t.id, t.name, int32(len(parts)), nil); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commitLocked(eventTopicPurged, e.buf)
}

// lookupToChange finds a topic for a change of it, with admin held.
func (s *Store) lookupToChange(name string) (*topic, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if s.readOnly {
		return nil, ErrReadOnly
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	return s.lookup(name)
}

// ListTopics describes all topics, by name.
func (s *Store) ListTopics(ctx context.Context) ([]TopicDescription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	var out []TopicDescription
	for _, name := range s.cat.names() {
		out = append(out, s.describeLocked(s.cat.topics[name]))
	}
	return out, nil
}

// DescribeTopic describes one topic: ErrUnknownTopicOrPartition if there is none.
func (s *Store) DescribeTopic(ctx context.Context, name string) (TopicDescription, error) {
	if err := ctx.Err(); err != nil {
		return TopicDescription{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return TopicDescription{}, ErrClosed
	}
	ct := s.cat.topics[name]
	if ct == nil {
		return TopicDescription{}, unknownTopic(name)
	}
	return s.describeLocked(ct), nil
}

func (s *Store) describeLocked(ct *catTopic) TopicDescription {
	return TopicDescription{
		Name: ct.name, ID: ct.id, Internal: internalTopic(ct.name), Partitions: int32(len(ct.parts)), Created: ct.created,
		Config: s.effective(ct.overrides), Overrides: maps.Clone(ct.overrides),
	}
}

// CreatePartitions raises the number of a topic's partitions to n. Keys may go to other partitions from then on.
// ErrInvalidPartitions if n is not larger than now; ErrInvalidTopic for an internal topic.
func (s *Store) CreatePartitions(ctx context.Context, name string, n int32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.config.Cluster != nil {
		if err := s.growShared(ctx, name, n, nil); err != nil {
			return fmt.Errorf("create partitions of topic %q: %w", name, s.closedOr(err))
		}
		return nil
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if err := s.createPartitions(name, n); err != nil {
		return fmt.Errorf("create partitions of topic %q: %w", name, s.closedOr(err))
	}
	return nil
}

// CreatePartitionsAt is CreatePartitions in a cluster, with the replicas of each new partition, the preferred leader first. ErrInvalidPartitions if there are not
// as many lists as new partitions; ErrInvalidReplicationFactor for a list that is empty or names a node twice; ErrUnsupported for a store that is alone; what the cluster
// refuses an assignment with, as of nodes that it does not have.
func (s *Store) CreatePartitionsAt(ctx context.Context, name string, n int32, assignment [][]int32) error {
	err := ctx.Err()
	switch {
	case err != nil:
		return err
	case s.config.Cluster == nil:
		err = fmt.Errorf("%w: the store is alone", ErrUnsupported)
	default:
		err = s.closedOr(s.growShared(ctx, name, n, assignment))
	}
	if err != nil {
		return fmt.Errorf("create partitions of topic %q: %w", name, err)
	}
	return nil
}

// mayGrow says why a topic cannot have n partitions.
func (t *topic) mayGrow(n int32) error {
	if t.internal {
		return fmt.Errorf("%w: where the records of a group or a transactional id are depends on the number of partitions", ErrInvalidTopic)
	}
	if have := int32(len(*t.parts.Load())); n <= have || n > maxPartitions {
		return fmt.Errorf("%w: %d, want %d to %d", ErrInvalidPartitions, n, have+1, maxPartitions)
	}
	return nil
}

func (s *Store) createPartitions(name string, n int32) error {
	t, err := s.lookupToChange(name)
	if err != nil {
		return err
	}
	have := int32(len(*t.parts.Load()))
	if err := t.mayGrow(n); err != nil {
		return err
	}
	if err := s.directoriesAreFree(name, have, n); err != nil {
		return err
	}
	var e encoder
	e.id(t.id)
	e.int(int64(n))
	s.mu.Lock()
	err = s.commitLocked(eventTopicGrown, e.buf)
	if err == nil {
		s.refreshLocked(true, nil)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.makeDirectories(t, have)
}
