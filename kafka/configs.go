package kafka

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/partition"
)

// configKind is a type of resource that has a configuration, with the protocol's numbers.
type configKind int8

const (
	kindTopic         configKind = 2
	kindBroker        configKind = 4
	kindLogger        configKind = 8
	kindClientMetrics configKind = 16
	kindGroup         configKind = 32
)

// kindWords name the kinds in the keys of settings.
var kindWords = map[configKind]string{kindTopic: "topic", kindBroker: "broker", kindClientMetrics: "client-metrics", kindGroup: "group"}

// configArea begins the settings that keep dynamic configurations: of brokers (the empty name is the default of all), groups
// and subscriptions to metrics of clients; and of topics, under their ids, what the store itself has no use for or keeps in
// other words. Behind it are the kind, the name, escaped, and the key.
const configArea = "kafka/config/"

// configSource says where a value comes from, with the protocol's numbers.
type configSource int8

const (
	sourceTopic         configSource = 1
	sourceBroker        configSource = 2
	sourceDefaultBroker configSource = 3
	sourceStatic        configSource = 4
	sourceDefault       configSource = 5
	sourceLogger        configSource = 6
	sourceClientMetrics configSource = 7
	sourceGroup         configSource = 8
)

// admin is what a Server's brokers share of administration.
type admin struct {
	dynamic kept[configTable]
	drawn   atomic.Uint64 // how many random choices have been made

	alter    turn              // one change of configurations at a time; held during writes to the catalogue
	defaults map[string]string // of topics, as the store was told last; guarded by alter

	features  atomic.Pointer[map[string]int16] // finalized levels
	epoch     atomic.Int64                     // of them
	rootLevel sync.Map                         // of loggers, by broker id

	telemetry telemetry
}

// turn is a mutex for which nobody waits longer than a context. It is made with room for one.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

// configTable holds dynamic configurations by kind, name and key. It is never changed, only replaced.
type configTable map[configKind]map[string]map[string]string

func buildConfigs(stored []partition.Setting) (configTable, error) {
	t := configTable{}
	for _, s := range stored {
		parts := strings.SplitN(strings.TrimPrefix(s.Key, configArea), "/", 3)
		kind := configKind(0)
		for k, word := range kindWords {
			if len(parts) == 3 && word == parts[0] {
				kind = k
			}
		}
		if kind == 0 {
			return nil, fmt.Errorf("setting %q: no configuration that this version knows", s.Key)
		}
		name, err := url.PathUnescape(parts[1])
		if err != nil {
			return nil, fmt.Errorf("setting %q: %w", s.Key, err)
		}
		if t[kind] == nil {
			t[kind] = map[string]map[string]string{}
		}
		if t[kind][name] == nil {
			t[kind][name] = map[string]string{}
		}
		t[kind][name][parts[2]] = string(s.Value)
	}
	return t, nil
}

// dynamic returns the dynamic configuration of a resource; it is not to be changed.
func (s *Server) dynamic(kind configKind, name string) map[string]string {
	t, _ := s.admin.dynamic.get(s.store) // after an error what was valid before
	return t[kind][name]
}

// changeConfigs sets and, where the value is nil, deletes dynamic configurations of a resource, all or none.
func (s *Server) changeConfigs(ctx context.Context, kind configKind, name string, changes map[string]*string) error {
	var out []partition.Setting
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		setting := partition.Setting{Key: configArea + kindWords[kind] + "/" + url.PathEscape(name) + "/" + key}
		if v := changes[key]; v != nil {
			setting.Value = append([]byte{}, *v...)
		}
		out = append(out, setting)
	}
	if len(out) == 0 {
		return nil
	}
	return s.store.PutSettings(ctx, out...)
}

// putConfigs sets dynamic configurations of a resource.
func (s *Server) putConfigs(ctx context.Context, kind configKind, name string, values map[string]string) error {
	changes := map[string]*string{}
	for key, v := range values {
		changes[key] = &v
	}
	return s.changeConfigs(ctx, kind, name, changes)
}

// dropConfigs deletes all dynamic configurations of a resource.
func (s *Server) dropConfigs(ctx context.Context, kind configKind, name string) error {
	changes := map[string]*string{}
	for key := range s.dynamic(kind, name) {
		changes[key] = nil
	}
	return s.changeConfigs(ctx, kind, name, changes)
}

// configEntry is one configuration as it is described.
type configEntry struct {
	name                string
	value               *string
	source              configSource
	readOnly, sensitive bool
	typ                 configType
	doc                 string
	synonyms            []configSynonym // the strongest first
}

// configSynonym is one of the values that a configuration may have, and why.
type configSynonym struct {
	name   string
	value  *string
	source configSource
}

// plainEntry describes a configuration that has no other name: its own value, else the default.
func plainEntry(p *property, own map[string]string, source configSource, fallback string) configEntry {
	e := configEntry{name: p.name, typ: p.typ, doc: p.doc, source: sourceDefault, value: &fallback}
	if v, ok := own[p.name]; ok {
		e.synonyms = append(e.synonyms, configSynonym{p.name, &v, source})
		e.value, e.source = &v, source
	} else if source == sourceGroup {
		e.synonyms = append(e.synonyms, configSynonym{p.name, &fallback, sourceDefault})
	}
	return e
}
