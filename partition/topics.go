package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"

	"github.com/partlog/partlog/internal/segment"
)

// offsetsTopic is where consumer groups keep what they have committed (KIP-211 and before: __consumer_offsets).
const offsetsTopic = "__consumer_offsets"

// offsetsTopicConfig is offsets.topic.num.partitions, offsets.topic.segment.bytes and what a broker adds.
var offsetsTopicConfig = TopicConfig{Partitions: 50, CleanupPolicy: CleanupCompact, SegmentBytes: 100 << 20}

// CreateTopic creates a topic and returns its handle. When it returns nil the topic is durable and takes appends.
// Errors, after all of which there is no such topic: ErrTopicAlreadyExists, ErrInvalidTopic (the name breaks Kafka's
// rules, or differs from another topic's only in '.' and '_'), ErrInvalidPartitions, *ConfigError, ErrNoSpace,
// ErrReadOnly, ErrClosed.
func (s *Store) CreateTopic(ctx context.Context, name string, c TopicConfig) (*Topic, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	t, err := s.createTopic(name, c)
	if err != nil {
		return nil, fmt.Errorf("create topic: %w", s.closedOr(err))
	}
	return &Topic{s: s, t: t}, nil
}

func (s *Store) createTopic(name string, c TopicConfig) (*topic, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if s.readOnly {
		return nil, ErrReadOnly
	}
	if err := validTopicName(name); err != nil {
		return nil, err
	}
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
	if err := s.directoriesAreFree(name, 0, n); err != nil {
		return nil, err
	}
	ct := &catTopic{name: name, id: newUUID(), created: s.config.Clock.Now(), overrides: overrides, parts: make([]catPart, n)}
	return s.publishTopic(ct)
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
	if f := s.config.Events.TopicCreated; f != nil {
		f(t.name, t.id)
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
func (s *Store) ensureOffsetsTopic() error {
	s.admin.Lock()
	defer s.admin.Unlock()
	_, err := s.createTopic(offsetsTopic, offsetsTopicConfig)
	if errors.Is(err, ErrTopicAlreadyExists) {
		return nil
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
	s.admin.Lock()
	defer s.admin.Unlock()
	t, err := s.lookup(name)
	if err == nil {
		err = s.deleteTopic(t)
	}
	if err != nil {
		return fmt.Errorf("delete topic: %w", s.closedOr(err))
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
	parts := *t.parts.Load()
	for _, p := range parts {
		_ = p.close() // its records are gone in any case
		p.wakeFetches()
	}
	if err := s.retire(t.id, t.name, int32(len(parts)), nil); err != nil {
		return err
	}
	s.mu.Lock()
	err = s.commitLocked(eventTopicPurged, e.buf)
	s.mu.Unlock()
	if f := s.config.Events.TopicDeleted; f != nil {
		f(t.name, t.id)
	}
	return err
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

// AlterTopicConfig sets settings of a topic by Kafka's key; an empty value takes the topic's own setting away, so that
// the default holds again. Either all changes are made or, with an error, none. They hold for the next append.
func (s *Store) AlterTopicConfig(ctx context.Context, name string, changes map[string]string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if err := s.alterTopic(name, changes); err != nil {
		return fmt.Errorf("alter topic %q: %w", name, s.closedOr(err))
	}
	return nil
}

func (s *Store) alterTopic(name string, changes map[string]string) error {
	t, err := s.lookup(name)
	if err != nil {
		return err
	}
	next, err := s.commitSettings(t, changes)
	if err != nil {
		return err
	}
	return s.applySettings(t, s.resolve(next))
}

// commitSettings makes changed settings durable and returns all that the topic sets itself.
func (s *Store) commitSettings(t *topic, changes map[string]string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ct := s.cat.topics[t.name]
	if ct == nil {
		return nil, unknownTopic(t.name)
	}
	next := maps.Clone(ct.overrides)
	if next == nil {
		next = map[string]string{}
	}
	for k, v := range changes {
		if _, ok := configKeys[k]; !ok {
			return nil, &ConfigError{Key: k, Value: v}
		}
		if v == "" {
			delete(next, k)
		} else {
			next[k] = v
		}
	}
	if err := validateOverrides(next); err != nil {
		return nil, err
	}
	var e encoder
	e.id(t.id)
	e.strings(next)
	return next, s.commitLocked(eventTopicConfigured, e.buf)
}

// applySettings puts new settings into force. A stronger sync mode promises more of what is already readable, so it is
// made true before the high watermark depends on it; otherwise readers would see it go back.
func (s *Store) applySettings(t *topic, st *settings) error {
	var errs []error
	first := *st
	// While it is pending, appends sync already, and readers still see what is written.
	first.pending = st.log.Sync == SyncAlways && t.settings.Load().log.Sync != SyncAlways
	t.settings.Store(&first)
	for _, p := range *t.parts.Load() {
		p.mu.Lock() // behind an open that has read the old settings
		l := p.log.Load()
		if l != nil {
			errs = append(errs, l.SetSettings(st.log))
		}
		p.mu.Unlock()
		if l != nil && first.pending {
			errs = append(errs, l.Sync())
		}
	}
	t.settings.Store(st)
	return errors.Join(errs...)
}

// CreatePartitions raises the number of a topic's partitions to n. Keys may go to other partitions from then on.
// ErrInvalidPartitions if n is not larger than now.
func (s *Store) CreatePartitions(ctx context.Context, name string, n int32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if err := s.createPartitions(name, n); err != nil {
		return fmt.Errorf("create partitions of topic %q: %w", name, s.closedOr(err))
	}
	return nil
}

func (s *Store) createPartitions(name string, n int32) error {
	t, err := s.lookup(name)
	if err != nil {
		return err
	}
	have := int32(len(*t.parts.Load()))
	if n <= have || n > maxPartitions {
		return fmt.Errorf("%w: %d, want %d to %d", ErrInvalidPartitions, n, have+1, maxPartitions)
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
