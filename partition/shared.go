package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/partlog/partlog/internal/journal"
)

// propose has the cluster agree on a change of the shared catalogue, and returns when this store has made it. look makes the change from the
// catalogue as it is; it is called again if another change came first, and its error is propose's. No lock is held.
func (s *Store) propose(ctx context.Context, look func() (SharedChange, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.readOnly {
			return ErrReadOnly
		}
		// First the index, then what look sees: that is not older.
		expect := s.AppliedShared()
		if s.closed.Load() {
			return ErrClosed
		}
		c, err := look()
		if err != nil {
			return err
		}
		c.Expect = expect
		if err = s.config.Cluster.Propose(ctx, c); !errors.Is(err, ErrSharedConflict) {
			return err
		}
	}
}

// AppliedShared returns the index of the last change of the shared catalogue that this store has made durable, 0 if there was none: those
// behind it have to come through ApplyShared again.
func (s *Store) AppliedShared() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cat.shared
}

// ApplyShared makes a change of the shared catalogue that the cluster has agreed on: durable, in one entry of the journal with its index, and
// live. Indexes grow from call to call; one that has been made is not made again. A topic gets no directories by it (see SetReplica); those of a
// deleted topic go. One goroutine calls it, which must not be one that Propose waits on.
//
// After an error (ErrNoSpace, the file system's) the same call has to be repeated before any other; it can be. ErrNewerFormat: this
// program does not know the kind. ErrClosed.
func (s *Store) ApplyShared(index uint64, kind uint8, payload []byte) error {
	if !sharedKind(kind) {
		return fmt.Errorf("apply change %d of the shared catalogue: %w: kind %d", index, ErrNewerFormat, kind)
	}
	topics := kind != SharedProducerIDs && kind != SharedSettings
	return s.applyEvent(index, eventShared, encodeShared(index, kind, payload), topics)
}

// ExportShared returns the shared catalogue as of AppliedShared, for ImportShared of another node: the same bytes on every node.
func (s *Store) ExportShared() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cat.exportShared()
}

// ImportShared makes the shared catalogue that of another node as of an index, as ApplyShared makes one change: at once, also across a crash. Topics that
// are not in it are deleted with their records; what this node has of the others stays. The store has that cluster's id from then on. Nothing
// happens if the index has been applied already.
//
// Errors are ApplyShared's, and ErrMessageTooLarge if the catalogue would have more than 1 GiB.
func (s *Store) ImportShared(index uint64, state []byte) error {
	var e encoder
	e.int(int64(index))
	e.int(int64(len(state)))
	return s.applyEvent(index, eventSharedImported, append(e.buf, state...), true)
}

// applyEvent makes an event that came from the cluster, and may change topics.
func (s *Store) applyEvent(index uint64, kind uint8, payload []byte, topics bool) error {
	s.admin.Lock()
	made, gone, err := s.applyEventAdmin(index, kind, payload, topics)
	s.admin.Unlock()
	if err != nil {
		return fmt.Errorf("apply change %d of the shared catalogue: %w", index, s.closedOr(err))
	}
	for _, t := range gone {
		if f := s.config.Events.TopicDeleted; f != nil {
			f(t.name, t.id)
		}
	}
	for _, t := range made {
		if f := s.config.Events.TopicCreated; f != nil {
			f(t.name, t.id)
		}
	}
	return nil
}

func (s *Store) applyEventAdmin(index uint64, kind uint8, payload []byte, topics bool) (made, gone []*topic, err error) {
	if s.closed.Load() {
		return nil, nil, ErrClosed
	}
	if err := s.settle(); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	if index < s.cat.shared {
		s.mu.Unlock()
		return nil, nil, nil
	}
	// One that has been made may not be live yet, if the call before has failed.
	if index > s.cat.shared {
		if len(payload) > journal.MaxPayload && kind == eventSharedImported {
			err = s.commitLargeLocked(kind, payload)
		} else {
			err = s.commitLocked(kind, payload)
		}
	}
	if err != nil {
		s.mu.Unlock()
		return nil, nil, err
	}
	refused := s.cat.refused
	changed := map[*topic]*settings{}
	if topics {
		before := s.index.Load()
		gone = s.refreshLocked(true, nil)
		for _, t := range s.index.Load().byName {
			if before.byID[t.id] == nil {
				made = append(made, t)
			} else if own := s.cat.topics[t.name].overrides; !maps.Equal(own, t.own) {
				t.own = own
				changed[t] = s.resolve(own)
			}
		}
	}
	s.mu.Unlock()
	if refused != nil {
		s.warn(s.root, fmt.Sprintf("change %d of the shared catalogue does not fit: %v", index, refused))
	}
	for _, t := range gone {
		if err := s.removeTopic(t); err != nil {
			s.warn(s.root, fmt.Sprintf("the files of topic %q could not be removed, and will be with the next change: %v", t.name, err))
			s.mu.Lock()
			s.orphans = append(s.orphans, t)
			s.mu.Unlock()
		}
	}
	for t, st := range changed {
		if err := s.applySettings(t, st); err != nil {
			s.warn(s.root, fmt.Sprintf("settings of topic %q: %v", t.name, err)) // its partitions fail by themselves
		}
	}
	if kind == eventSharedImported {
		return made, gone, s.writeMetaProperties()
	}
	return made, gone, nil
}

// createShared is CreateTopic in a cluster.
func (s *Store) createShared(ctx context.Context, name string, c TopicConfig) (*topic, error) {
	if err := validTopicName(name); err != nil {
		return nil, err
	}
	if err := validReplicas(name, c); err != nil {
		return nil, err
	}
	if c.Partitions == 0 && c.Assignment != nil {
		c.Partitions = int32(len(c.Assignment))
	}
	var id TopicID
	err := s.propose(ctx, func() (SharedChange, error) {
		ct, err := s.newTopic(name, c)
		if err != nil {
			return SharedChange{}, err
		}
		if c.Assignment != nil && len(c.Assignment) != len(ct.parts) {
			return SharedChange{}, fmt.Errorf("%w: topic %q: %d, and replicas for %d", ErrInvalidPartitions, name, len(ct.parts), len(c.Assignment))
		}
		var e encoder
		e.topic(ct)
		id = ct.id
		return SharedChange{Kind: SharedTopicCreated, Payload: e.buf, Topic: ct.id, Name: name, Partitions: int32(len(ct.parts)),
			Overrides: ct.overrides, ReplicationFactor: c.ReplicationFactor, Assignment: c.Assignment}, nil
	})
	if err != nil {
		return nil, err
	}
	if t := s.index.Load().byID[id]; t != nil {
		return t, nil
	}
	return nil, unknownTopic(name) // deleted again meanwhile
}

// validReplicas checks what a TopicConfig says of replicas as far as that needs no knowledge of the nodes.
func validReplicas(name string, c TopicConfig) error {
	if c.ReplicationFactor < -1 || c.ReplicationFactor > 0 && c.Assignment != nil {
		return fmt.Errorf("%w: topic %q: %d", ErrInvalidReplicationFactor, name, c.ReplicationFactor)
	}
	for i, replicas := range c.Assignment {
		seen := map[int32]bool{}
		for _, n := range replicas {
			if n < 0 || seen[n] {
				return fmt.Errorf("%w: topic %q: partition %d is to be at %v", ErrInvalidReplicationFactor, name, i, replicas)
			}
			seen[n] = true
		}
		if len(replicas) == 0 {
			return fmt.Errorf("%w: topic %q: partition %d is to be nowhere", ErrInvalidReplicationFactor, name, i)
		}
	}
	return nil
}

// deleteShared is DeleteTopic in a cluster.
func (s *Store) deleteShared(ctx context.Context, name string) error {
	return s.propose(ctx, func() (SharedChange, error) {
		t, err := s.lookup(name)
		if err != nil {
			return SharedChange{}, err
		}
		var e encoder
		e.id(t.id)
		return SharedChange{Kind: SharedTopicDeleted, Payload: e.buf, Topic: t.id, Name: name}, nil
	})
}

// growShared is CreatePartitions in a cluster; the new partitions have the replicas of assignment, unless that is nil.
func (s *Store) growShared(ctx context.Context, name string, n int32, assignment [][]int32) error {
	if err := validReplicas(name, TopicConfig{Assignment: assignment}); err != nil {
		return err
	}
	return s.propose(ctx, func() (SharedChange, error) {
		t, err := s.lookup(name)
		if err == nil {
			err = t.mayGrow(n)
		}
		if err == nil && assignment != nil && len(assignment) != int(n)-len(*t.parts.Load()) {
			err = fmt.Errorf("%w: %d more, and replicas for %d", ErrInvalidPartitions, int(n)-len(*t.parts.Load()), len(assignment))
		}
		if err != nil {
			return SharedChange{}, err
		}
		var e encoder
		e.id(t.id)
		e.int(int64(n))
		return SharedChange{Kind: SharedTopicGrown, Payload: e.buf, Topic: t.id, Name: name, Partitions: n, Assignment: assignment}, nil
	})
}

// configureShared is AlterTopicConfig in a cluster.
func (s *Store) configureShared(ctx context.Context, name string, changes map[string]string) error {
	return s.propose(ctx, func() (SharedChange, error) {
		t, err := s.lookup(name)
		if err != nil {
			return SharedChange{}, err
		}
		s.mu.Lock()
		next, err := s.nextOverridesLocked(t, changes)
		s.mu.Unlock()
		if err != nil {
			return SharedChange{}, err
		}
		var e encoder
		e.id(t.id)
		e.strings(next)
		return SharedChange{Kind: SharedTopicConfigured, Payload: e.buf, Topic: t.id, Name: name, Overrides: next}, nil
	})
}

// newSharedID is newProducerID in a cluster. A block is this node's if nobody else's change came between the look at the next id and it.
func (s *Store) newSharedID(ctx context.Context) (int64, error) {
	for {
		if s.closed.Load() {
			return -1, ErrClosed
		}
		if id, ok := s.takeID(); ok {
			return id, nil
		}
		select {
		case <-s.idsTurn:
		case <-ctx.Done():
			return -1, ctx.Err()
		}
		err := s.reserveShared(ctx)
		s.idsTurn <- struct{}{}
		if err != nil {
			return -1, s.closedOr(err)
		}
	}
}

func (s *Store) takeID() (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids.next == s.ids.end {
		return -1, false
	}
	s.ids.next++
	return s.ids.next - 1, true
}

// reserveShared gets a block of producer ids unless there is one again.
func (s *Store) reserveShared(ctx context.Context) error {
	var first int64
	if err := s.propose(ctx, func() (SharedChange, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ids.next < s.ids.end {
			return SharedChange{}, errHaveIDs
		}
		first = s.cat.nextID
		var e encoder
		e.int(first + idBlockSize)
		return SharedChange{Kind: SharedProducerIDs, Payload: e.buf}, nil
	}); err != nil {
		if err == errHaveIDs {
			return nil
		}
		return err
	}
	s.mu.Lock()
	s.ids = idBlock{first, first + idBlockSize}
	s.mu.Unlock()
	return nil
}

// errHaveIDs ends a proposal that is not needed any more.
var errHaveIDs = errors.New("there is a block")
