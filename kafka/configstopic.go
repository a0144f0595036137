package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/partlog/partlog/partition"
)

// keyIndexConfig is a topic's setting that Apache Kafka does not have.
const keyIndexConfig = "partlog.key.index"

// topicProperty finds a topic's configuration by its name: nil if there is none.
func topicProperty(name string) *property {
	if name == keyIndexConfig {
		return &property{name: name, typ: typeBoolean, doc: "Whether the store keeps where each key has records, for conditional appends and reads by key."}
	}
	return topicProperties().byName[name]
}

// topicOverrides returns what a topic sets itself, as it was asked for.
func (s *Server) topicOverrides(ctx context.Context, t *partition.Topic) (map[string]string, error) {
	d, err := s.store.DescribeTopic(ctx, t.Name())
	if err != nil {
		return nil, err
	}
	own := d.Overrides
	if own == nil {
		own = map[string]string{}
	}
	for key, asked := range s.dynamic(kindTopic, t.ID().String()) {
		stored, ok := storedTopicConfig(key, asked)
		if !ok || own[stored.key] == stored.value {
			own[key] = asked // else it was changed in this process, past the listener
		}
	}
	return own, nil
}

// topicConfigs describes all configurations of a topic that sets own itself, by name, as they hold at b.
func (b *Broker) topicConfigs(own map[string]string) []configEntry {
	layers := b.layers()
	names := slices.Clone(topicProperties().names)
	if _, ok := own[keyIndexConfig]; ok {
		names = append(names, keyIndexConfig)
		slices.Sort(names)
	}
	var out []configEntry
	for _, name := range names {
		p := topicProperty(name)
		v, set := own[name]
		if p.hidden && !set {
			continue
		}
		e := configEntry{name: name, typ: p.typ, doc: p.doc, source: sourceDefault, value: p.value}
		if broker := topicSynonyms[name]; broker != nil {
			e.synonyms = layers.synonyms(broker[0])
		}
		if len(e.synonyms) > 0 {
			first := e.synonyms[0]
			value := inTopicUnits(first.name, *first.value)
			e.value, e.source = &value, first.source
		} else if broker := topicSynonyms[name]; len(broker) > 1 { // set in other units
			if value, ok := layers.topicDefault(broker); ok {
				e.value = &value
			}
		}
		if set {
			e.value, e.source = &v, sourceTopic
			e.synonyms = slices.Insert(e.synonyms, 0, configSynonym{name, &v, sourceTopic})
		}
		if e.value == nil {
			e.value = new(string)
		}
		out = append(out, e)
	}
	return out
}

// checkTopicConfigs applies Kafka's rules to the configurations that a topic is to set itself, in its order: names, values,
// what does not go together.
func (s *Server) checkTopicConfigs(set *settings, configs map[string]string) error {
	names := slices.Sorted(maps.Keys(configs))
	for _, name := range names {
		if topicProperty(name) == nil {
			return refusal(codeInvalidConfig, "Unknown topic config name: "+name)
		}
	}
	for _, name := range names {
		if err := topicProperty(name).check(configs[name]); err != nil {
			return refusal(codeInvalidConfig, err.Error())
		}
	}
	number := func(name string) int64 {
		v, ok := configs[name]
		if !ok {
			v, ok = set.topicDefaults[name]
		}
		if !ok {
			v = *topicProperty(name).value
		}
		n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		return n
	}
	if lo, hi := number("min.compaction.lag.ms"), number("max.compaction.lag.ms"); lo > hi {
		return refusal(codeInvalidConfig, fmt.Sprintf("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", lo, hi))
	}
	if strings.EqualFold(strings.TrimSpace(configs["remote.storage.enable"]), "true") {
		return refusal(codeInvalidConfig, "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.")
	}
	return nil
}

// setTopicConfigs makes next what a topic sets itself. now is what it sets.
func (s *Server) setTopicConfigs(ctx context.Context, t *partition.Topic, now, next map[string]string) error {
	changes, kept := map[string]string{}, map[string]*string{}
	for key := range s.dynamic(kindTopic, t.ID().String()) {
		kept[key] = nil
	}
	for key, v := range now {
		if _, stays := next[key]; stays {
			continue
		}
		if stored, ok := storedTopicConfig(key, v); ok {
			changes[stored.key] = ""
		}
	}
	for key, v := range next {
		stored, ok := storedTopicConfig(key, v)
		if ok {
			changes[stored.key] = stored.value
		}
		if !ok || stored.value != v {
			kept[key] = &v
		}
	}
	// First what is kept beside the topic: without the topic's own part it counts for nothing.
	if err := s.changeConfigs(ctx, kindTopic, t.ID().String(), kept); err != nil {
		return err
	}
	if len(changes) == 0 {
		return nil
	}
	return s.store.AlterTopicConfig(ctx, t.Name(), changes)
}
