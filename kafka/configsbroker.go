package kafka

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// brokerLayers are the configurations of a broker, the strongest first; below them are Kafka's defaults.
type brokerLayers struct {
	dynamic map[string]string // of this broker
	cluster map[string]string // of all brokers
	static  map[string]string // what it was started with
}

// sharedSynonyms are names of one property in several units, the strongest first.
var sharedSynonyms = [][]string{
	{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	{"log.roll.ms", "log.roll.hours"},
	{"log.roll.jitter.ms", "log.roll.jitter.hours"},
	{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
}

// brokerSynonyms returns the names under which the value of a broker's property is looked for.
func brokerSynonyms(name string) []string {
	for _, names := range sharedSynonyms {
		if slices.Contains(names, name) {
			return names
		}
	}
	if p := brokerProperty(name); p != nil && p.name != name { // of one listener
		return []string{name, p.name}
	}
	return []string{name}
}

// synonyms returns all values that a broker's property has, the strongest first. Those before the first of its own name are
// left out, as in Kafka.
func (l *brokerLayers) synonyms(name string) []configSynonym {
	var out []configSynonym
	names := brokerSynonyms(name)
	p := describedProperty(name)
	sensitive := p == nil || p.sensitive()
	for _, layer := range []struct {
		values map[string]string
		source configSource
	}{{l.dynamic, sourceBroker}, {l.cluster, sourceDefaultBroker}, {l.static, sourceStatic}, {nil, sourceDefault}} {
		for _, n := range names {
			v, ok := layer.values[n]
			if layer.source == sourceDefault {
				if p := brokerProperties().byName[n]; p != nil && p.value != nil {
					v, ok = *p.value, true
				}
			}
			if !ok || len(out) == 0 && n != name {
				continue
			}
			s := configSynonym{name: n, source: layer.source}
			if !sensitive {
				s.value = &v
			}
			out = append(out, s)
		}
	}
	return out
}

// topicDefault returns the value of the strongest of several names, in the units of topics.
func (l *brokerLayers) topicDefault(names []string) (string, bool) {
	for _, values := range []map[string]string{l.dynamic, l.cluster, l.static} {
		for _, n := range names {
			if v, ok := values[n]; ok {
				return inTopicUnits(n, v), true
			}
		}
	}
	return "", false
}

// layers returns the broker's configurations. What the store was opened with counts as what the broker was started with.
func (b *Broker) layers() *brokerLayers {
	s := b.server
	l := &brokerLayers{dynamic: s.dynamic(kindBroker, strconv.Itoa(int(b.id))), cluster: s.clusterConfigs(), static: b.staticConfigs()}
	for key, v := range s.store.TopicDefaults() {
		names, p := topicSynonyms[key], topicProperties().byName[key]
		if names == nil || p == nil || p.value != nil && *p.value == v {
			continue
		}
		if _, ok := l.topicDefault(names); !ok {
			l.static[names[0]] = v
		}
	}
	return l
}

// clusterConfigs are the dynamic defaults of all brokers. With eligible leader replicas (KIP-966) min.insync.replicas is
// always one of them.
func (s *Server) clusterConfigs() map[string]string {
	all := s.dynamic(kindBroker, "")
	if _, ok := all["min.insync.replicas"]; ok || s.featureLevel("eligible.leader.replicas.version") < 1 {
		return all
	}
	all = maps.Clone(all)
	if all == nil {
		all = map[string]string{}
	}
	all["min.insync.replicas"] = propertyReader(s.config.Properties).text("min.insync.replicas")
	return all
}

// staticConfigs are what a broker was started with: its properties, its id, rack and listeners.
func (b *Broker) staticConfigs() map[string]string {
	all := maps.Clone(b.server.config.Properties)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b.properties)
	id := strconv.Itoa(int(b.id))
	all["broker.id"], all["node.id"] = id, id
	if r := b.Rack(); r != "" {
		all["broker.rack"] = r
	}
	missing := func(name, value string) {
		if _, ok := all[name]; !ok {
			all[name] = value
		}
	}
	var bound, advertised, protocols []string
	for _, l := range b.listeners {
		bound = append(bound, l.name+"://"+l.config.Listener.Addr().String())
		advertised = append(advertised, l.name+"://"+net.JoinHostPort(l.host, strconv.Itoa(int(l.port))))
		protocols = append(protocols, l.name+":"+l.config.Protocol.String())
	}
	missing("listeners", strings.Join(bound, ","))
	all["advertised.listeners"] = strings.Join(advertised, ",")
	missing("listener.security.protocol.map", strings.Join(protocols, ","))
	if len(b.listeners) > 0 && all["security.inter.broker.protocol"] == "" {
		missing("inter.broker.listener.name", b.listeners[0].name)
	}
	missing("process.roles", "broker")
	missing("log.dirs", b.server.store.Dir())
	return all
}

// brokerQuotas are what a broker may be given besides its properties: rates of the copying of replicas (KIP-73).
var brokerQuotas = map[string]*property{}

func init() {
	for _, name := range []string{"follower.replication.throttled.rate", "leader.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second"} {
		brokerQuotas[name] = &property{name: name, typ: typeLong, min: 0, max: 1<<63 - 1, mode: readOnly, doc: "A long representing the upper bound (bytes/sec) on the traffic of replicas."}
	}
}

// describedProperty finds what there is to say of a broker's property: nil for one that Kafka does not know.
func describedProperty(name string) *property {
	if p := brokerProperty(name); p != nil {
		return p
	}
	return brokerQuotas[name]
}

// entry describes one property of a broker.
func (l *brokerLayers) entry(name string) configEntry {
	p := describedProperty(name)
	e := configEntry{name: name, source: sourceDefault, readOnly: true, sensitive: true, synonyms: l.synonyms(name)}
	if p != nil {
		e.typ, e.doc, e.sensitive, e.readOnly = p.typ, p.doc, p.sensitive(), p.mode == readOnly
	}
	if len(e.synonyms) > 0 {
		e.value, e.source = e.synonyms[0].value, e.synonyms[0].source
	}
	return e
}

// names are all that there is to describe of a broker, sorted.
func (l *brokerLayers) names() []string {
	all := map[string]bool{}
	for _, name := range brokerProperties().names {
		all[name] = !brokerProperties().byName[name].hidden
	}
	for _, layer := range []map[string]string{l.dynamic, l.cluster, l.static} {
		for name := range layer {
			all[name] = true
		}
	}
	maps.DeleteFunc(all, func(_ string, shown bool) bool { return !shown })
	return slices.Sorted(maps.Keys(all))
}
