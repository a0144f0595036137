package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/partlog/partlog/partition"
)

// startAdmin reads what is kept of configurations and features, and brings it into force.
func (s *Server) startAdmin() error {
	s.admin.dynamic = kept[configTable]{area: configArea, build: buildConfigs}
	if err := s.startFeatures(); err != nil {
		return err
	}
	t, err := s.admin.dynamic.get(s.store)
	if err != nil {
		return err
	}
	if err := s.forgetTopics(t[kindTopic]); err != nil {
		return err
	}
	for name, configs := range t[kindGroup] {
		if err := s.configureGroup(name, configs); err != nil {
			s.warn([]Warning{{Property: "group " + name, Text: err.Error()}})
		}
	}
	if len(t[kindBroker]) > 0 {
		return s.refresh(context.Background())
	}
	return s.refreshTopicDefaults(context.Background(), s.settings.Load())
}

// followConfigs brings the dynamic configurations of brokers and groups, and the levels of features, into force on a node, whichever node's server was asked for them, each time that this
// node has applied a change of them. It is a goroutine of its own, which ends with ctx.
func (s *Server) followConfigs(ctx context.Context) {
	var brokers, groups map[string]map[string]string // as they are in force
	seen := s.store.SettingsVersion("") - 1          // of which the features are
	for {
		changed := s.node.node.MetadataChanged() // before the look: what changes behind it is seen by the next
		t, err := s.admin.dynamic.get(s.store)
		if err != nil {
			s.warn([]Warning{{Property: "dynamic configurations", Text: err.Error()}})
			t = configTable{kindBroker: brokers, kindGroup: groups} // what was valid before stays
		}
		if !sameConfigs(brokers, t[kindBroker]) {
			brokers = t[kindBroker]
			err := s.admin.alter.take(ctx)
			if err == nil {
				err = s.refresh(ctx)
				s.admin.alter.give()
			}
			if err != nil && ctx.Err() == nil {
				s.warn([]Warning{{Property: "dynamic configurations", Text: err.Error()}})
			}
		}
		if !sameConfigs(groups, t[kindGroup]) {
			s.configureGroups(groups, t[kindGroup])
			groups = t[kindGroup]
		}
		if version := s.store.SettingsVersion(""); version != seen {
			err := s.admin.alter.take(ctx)
			if err == nil {
				err = s.followFeatures()
				s.admin.alter.give()
			}
			if seen = version; err != nil && ctx.Err() == nil {
				s.warn([]Warning{{Property: "features", Text: err.Error()}})
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func sameConfigs(a, b map[string]map[string]string) bool {
	return maps.EqualFunc(a, b, func(a, b map[string]string) bool { return maps.Equal(a, b) })
}

// configureGroups tells the coordinator what groups set that did not set it before, or do not any more.
func (s *Server) configureGroups(before, now map[string]map[string]string) {
	names := slices.Collect(maps.Keys(now))
	for name := range before {
		if now[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if maps.Equal(before[name], now[name]) {
			continue
		}
		if err := s.configureGroup(name, now[name]); err != nil {
			s.warn([]Warning{{Property: "group " + name, Text: err.Error()}})
		}
	}
}

// forgetTopics drops what is kept of topics that were deleted past the listener.
func (s *Server) forgetTopics(byID map[string]map[string]string) error {
	for text := range byID {
		id, err := partition.ParseTopicID(text)
		if err == nil {
			_, err = s.store.TopicByID(id)
		}
		if errors.Is(err, partition.ErrUnknownTopicID) {
			if err := s.dropConfigs(context.Background(), kindTopic, text); err != nil && !errors.Is(err, partition.ErrReadOnly) {
				return err
			}
		}
	}
	return nil
}

// refresh brings the dynamic configurations of brokers into force: the settings that the handlers read, and the defaults of
// topics, which are those of the first broker. The caller holds alter, or is alone with s.
func (s *Server) refresh(ctx context.Context) error {
	s.settings.Store(s.inForce(nil))
	lead := s.settings.Load()
	for i, b := range s.ownBrokers() {
		set := s.inForce(b)
		b.settings.Store(set)
		if i == 0 {
			lead = set
		}
	}
	return s.refreshTopicDefaults(ctx, lead)
}

// hasDynamic reports whether there are dynamic configurations for a broker.
func (s *Server) hasDynamic(b *Broker) bool {
	return len(s.dynamic(kindBroker, ""))+len(s.dynamic(kindBroker, strconv.Itoa(int(b.id)))) > 0
}

// inForce returns the settings of a broker, or of all if b is nil, with its dynamic configurations. One that went with the
// static ones of another start and does not go with these is left out.
func (s *Server) inForce(b *Broker) *settings {
	all := maps.Clone(s.config.Properties)
	if all == nil {
		all = map[string]string{}
	}
	layers := []map[string]string{s.dynamic(kindBroker, "")}
	if b != nil {
		maps.Copy(all, b.properties)
		layers = append(layers, s.dynamic(kindBroker, strconv.Itoa(int(b.id))))
	}
	for _, layer := range layers {
		for _, name := range slices.Sorted(maps.Keys(layer)) {
			before, had := all[name]
			all[name] = layer[name]
			if _, _, err := parseProperties(all); err != nil {
				if delete(all, name); had {
					all[name] = before
				}
			}
		}
	}
	set, _, err := parseProperties(all)
	if err != nil { // the static ones were good
		return s.settings.Load()
	}
	return set
}

// refreshTopicDefaults tells the store the defaults of topics that properties set.
func (s *Server) refreshTopicDefaults(ctx context.Context, set *settings) error {
	next := map[string]string{}
	for key, v := range set.topicDefaults {
		if stored, ok := storedTopicConfig(key, v); ok {
			next[stored.key] = stored.value
		}
	}
	if maps.Equal(next, s.admin.defaults) {
		return nil
	}
	changes := maps.Clone(next)
	for key := range s.admin.defaults {
		if _, ok := next[key]; !ok {
			changes[key] = ""
		}
	}
	if err := s.store.AlterTopicDefaults(ctx, changes); err != nil {
		return err
	}
	s.admin.defaults = next
	return nil
}
