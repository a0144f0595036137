package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// AlterTopicConfig sets settings of a topic by Kafka's key; an empty value takes the topic's own setting away, so that
// the default holds again. Either all changes are made or, with an error, none. They hold for the next append.
func (s *Store) AlterTopicConfig(ctx context.Context, name string, changes map[string]string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.config.Cluster != nil {
		if err := s.configureShared(ctx, name, changes); err != nil {
			return fmt.Errorf("alter topic %q: %w", name, s.closedOr(err))
		}
		return nil
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if err := s.alterTopic(name, changes); err != nil {
		return fmt.Errorf("alter topic %q: %w", name, s.closedOr(err))
	}
	return nil
}

func (s *Store) alterTopic(name string, changes map[string]string) error {
	t, err := s.lookupToChange(name)
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
	next, err := s.nextOverridesLocked(t, changes)
	if err != nil {
		return nil, err
	}
	var e encoder
	e.id(t.id)
	e.strings(next)
	return next, s.commitLocked(eventTopicConfigured, e.buf)
}

// nextOverridesLocked returns what a topic sets itself after changes.
func (s *Store) nextOverridesLocked(t *topic, changes map[string]string) (map[string]string, error) {
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
	return next, nil
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
	s.shell.cleaner.watchTopic(t)
	return errors.Join(errs...)
}
