package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// TopicDefaults returns what holds for a topic that sets nothing itself: every setting by Kafka's key. The map is the
// caller's.
func (s *Store) TopicDefaults() map[string]string { return s.effective(nil) }

// AlterTopicDefaults sets the defaults of topics' settings by Kafka's key, as a broker's dynamic configuration does in
// Kafka; an empty value puts Config.Topics' back. Either all changes are made or, with an error, none. They hold for the
// next append to each topic, and until Close: nothing is written.
func (s *Store) AlterTopicDefaults(ctx context.Context, changes map[string]string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if err := s.alterTopicDefaults(changes); err != nil {
		return fmt.Errorf("alter defaults of topics: %w", s.closedOr(err))
	}
	return nil
}

func (s *Store) alterTopicDefaults(changes map[string]string) error {
	if s.closed.Load() {
		return ErrClosed
	}
	configured, _ := s.config.Topics.overrides() // validated
	now := *s.defaults.Load()
	next := maps.Clone(now)
	for k, v := range changes {
		switch base, ok := configured[k]; {
		case v != "":
			next[k] = v
		case ok:
			next[k] = base
		default:
			delete(next, k)
		}
	}
	if err := validateOverrides(next); err != nil {
		return err
	}
	if maps.Equal(now, next) {
		return nil
	}
	s.mu.Lock() // behind it every topic that is made gets the new ones
	s.defaults.Store(&next)
	overrides := map[*topic]map[string]string{}
	for name, t := range s.index.Load().byName {
		if ct := s.cat.topics[name]; ct != nil {
			overrides[t] = ct.overrides
		}
	}
	s.mu.Unlock()
	var errs []error
	for t, own := range overrides {
		errs = append(errs, s.applySettings(t, s.resolve(own)))
	}
	return errors.Join(errs...)
}
