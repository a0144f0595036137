package kafkatest

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
)

const (
	configOfTopic   = kmsg.ConfigResourceTypeTopic
	configOfBroker  = kmsg.ConfigResourceTypeBroker
	configOfLogger  = kmsg.ConfigResourceTypeBrokerLogger
	configOfMetrics = kmsg.ConfigResourceTypeClientMetrics
)

// personaConfig is a configuration that a release has otherwise than Kafka 4.1, a line of its file: one of its own, one that it does
// not have, or one with another default.
type personaConfig struct {
	name, change string
	typ          kmsg.ConfigType
	value        *string
	readOnly     bool
	synonym      string // of a topic's: the broker's property
}

const (
	configOwn     = "own"
	configAbsent  = "absent"
	configDefault = "default"
)

// personaConfigs are the lines of a file, by kind and name, and the names in order.
type personaConfigs map[kmsg.ConfigResourceType]map[string]personaConfig

var (
	personaConfigsMu sync.Mutex // guards personaConfigsOf
	personaConfigsOf = map[string]personaConfigs{}
)

// configs returns what the release's file says of configurations, read once.
func (p *Persona) configs() personaConfigs {
	personaConfigsMu.Lock()
	defer personaConfigsMu.Unlock()
	all := personaConfigsOf[p.release]
	if all != nil {
		return all
	}
	file, err := personaFiles.ReadFile("testdata/personas/" + p.release + "-configs.tsv")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	all = personaConfigs{configOfTopic: {}, configOfBroker: {}}
	for line := range strings.Lines(string(file)) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(c) != 7 {
			panic("BUG: columns: " + line)
		}
		kind := configOfTopic
		switch c[0] {
		case "kind":
			continue
		case "broker":
			kind = configOfBroker
		}
		one := personaConfig{name: c[1], change: c[2], readOnly: c[5] != "", synonym: c[6]}
		one.typ, _ = kmsg.ParseConfigType(c[3])
		if c[4] != "<null>" {
			one.value = &c[4]
		}
		all[kind][one.name] = one
	}
	personaConfigsOf[p.release] = all
	return all
}

// Where values come from.
const (
	sourceTopic   = kmsg.ConfigSourceDynamicTopicConfig
	sourceStatic  = kmsg.ConfigSourceStaticBrokerConfig
	sourceDefault = kmsg.ConfigSourceDefaultConfig
)

// subscriptionsHaveNoDefaults: of a subscription to clients' metrics only what is set is described.
var subscriptionsHaveNoDefaults = after(keyDescribeConfigs, func(_ *Cluster, _ *kmsg.DescribeConfigsRequest, resp *kmsg.DescribeConfigsResponse) {
	for i := range resp.Resources {
		if r := &resp.Resources[i]; r.ResourceType == configOfMetrics {
			r.Configs = slices.DeleteFunc(r.Configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool { return c.Source == sourceDefault })
			if len(r.Configs) == 0 {
				r.Configs = nil
			}
		}
	}
})

// describedKinds are the only kinds of resources whose configurations may be described; another one spoils them all.
func describedKinds(known ...kmsg.ConfigResourceType) habit {
	return after(keyDescribeConfigs, func(_ *Cluster, req *kmsg.DescribeConfigsRequest, resp *kmsg.DescribeConfigsResponse) {
		if !slices.ContainsFunc(req.Resources, func(r kmsg.DescribeConfigsRequestResource) bool { return !slices.Contains(known, r.ResourceType) }) {
			return
		}
		for i := range resp.Resources {
			r := &resp.Resources[i]
			r.ErrorCode, r.ErrorMessage, r.Configs = codeInvalidRequest, kmsg.StringPtr("Unexpected resource type"), nil
		}
	})
}

// alteredKinds are the only kinds of resources whose configurations may be changed.
func alteredKinds(known ...kmsg.ConfigResourceType) habit {
	const text = "Unexpected resource type"
	return habit{
		keys: []int16{keyAlterConfigs, keyIncrementalAlterConfigs},
		before: func(c *Cluster, call *kafka.Call) {
			var unknown []kmsg.ConfigResourceType
			var names []string
			take := func(kind kmsg.ConfigResourceType, name string) bool {
				if !slices.Contains(known, kind) {
					unknown, names = append(unknown, kind), append(names, name)
					return true
				}
				return false
			}
			switch req := call.Request.(type) {
			case *kmsg.AlterConfigsRequest:
				req.Resources = slices.DeleteFunc(req.Resources, func(r kmsg.AlterConfigsRequestResource) bool { return take(r.ResourceType, r.ResourceName) })
			case *kmsg.IncrementalAlterConfigsRequest:
				req.Resources = slices.DeleteFunc(req.Resources, func(r kmsg.IncrementalAlterConfigsRequestResource) bool {
					return take(r.ResourceType, r.ResourceName)
				})
			}
			c.configs.setAside(call, unknown, names)
		},
		after: func(c *Cluster, call *kafka.Call, r kmsg.Response) {
			kinds, names := c.configs.asides(call)
			for i, kind := range kinds {
				switch resp := r.(type) {
				case *kmsg.AlterConfigsResponse:
					one := kmsg.NewAlterConfigsResponseResource()
					one.ResourceType, one.ResourceName, one.ErrorCode, one.ErrorMessage = kind, names[i], codeInvalidRequest, kmsg.StringPtr(text)
					resp.Resources = append(resp.Resources, one)
				case *kmsg.IncrementalAlterConfigsResponse:
					one := kmsg.NewIncrementalAlterConfigsResponseResource()
					one.ResourceType, one.ResourceName, one.ErrorCode, one.ErrorMessage = kind, names[i], codeInvalidRequest, kmsg.StringPtr(text)
					resp.Resources = append(resp.Resources, one)
				}
			}
		},
	}
}

// releaseConfigs: configurations are described under the names and with the defaults of the release.
var releaseConfigs = habit{keys: []int16{keyDescribeConfigs, keyCreateTopics}, after: func(c *Cluster, call *kafka.Call, r kmsg.Response) {
	switch resp := r.(type) {
	case *kmsg.DescribeConfigsResponse:
		req := call.Request.(*kmsg.DescribeConfigsRequest)
		for i := range resp.Resources {
			r := &resp.Resources[i]
			if r.ErrorCode != 0 || i >= len(req.Resources) || r.ResourceType == configOfBroker && r.ResourceName == "" {
				continue
			}
			r.Configs = c.asDescribed(r.ResourceType, r.ResourceName, r.Configs, func(name string) bool {
				return len(req.Resources[i].ConfigNames) == 0 || slices.Contains(req.Resources[i].ConfigNames, name)
			}, req)
		}
	case *kmsg.CreateTopicsResponse:
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if t.ErrorCode != 0 || call.Version < 5 || t.ConfigErrorCode != 0 {
				continue
			}
			all := make([]kmsg.DescribeConfigsResponseResourceConfig, len(t.Configs))
			for j, o := range t.Configs {
				all[j] = kmsg.DescribeConfigsResponseResourceConfig{Name: o.Name, Value: o.Value, ReadOnly: o.ReadOnly, Source: kmsg.ConfigSource(o.Source), IsSensitive: o.IsSensitive}
			}
			all = c.asDescribed(configOfTopic, t.Topic, all, func(string) bool { return true }, &kmsg.DescribeConfigsRequest{})
			t.Configs = t.Configs[:0]
			for _, o := range all {
				one := kmsg.NewCreateTopicsResponseTopicConfig()
				one.Name, one.Value, one.ReadOnly, one.Source, one.IsSensitive = o.Name, o.Value, o.ReadOnly, int8(o.Source), o.IsSensitive
				t.Configs = append(t.Configs, one)
			}
		}
	}
}}

// asDescribed turns the configurations of a resource into those of the release.
func (c *Cluster) asDescribed(kind kmsg.ConfigResourceType, resource string, all []kmsg.DescribeConfigsResponseResourceConfig, wanted func(string) bool,
	req *kmsg.DescribeConfigsRequest) []kmsg.DescribeConfigsResponseResourceConfig {
	p := c.config.persona
	of := p.configs()[kind]
	all = slices.DeleteFunc(all, func(o kmsg.DescribeConfigsResponseResourceConfig) bool { return of[o.Name].change == configAbsent })
	for i := range all {
		o := &all[i]
		x, other := of[o.Name]
		for _, name := range []string{o.Name, "log." + o.Name} { // a property that the persona has set is a default
			if v, ok := p.defaults[name]; ok && o.Source == sourceStatic && o.Value != nil && *o.Value == v {
				x, other, o.Source = personaConfig{value: &v}, true, sourceDefault
				for j := range o.ConfigSynonyms {
					o.ConfigSynonyms[j].Source = sourceDefault
				}
				o.ConfigSynonyms = o.ConfigSynonyms[:min(len(o.ConfigSynonyms), 1)]
			}
		}
		if other && o.Source == sourceDefault {
			o.Value = x.value
			for j := range o.ConfigSynonyms {
				o.ConfigSynonyms[j].Value = x.value
			}
		}
	}
	set := c.configs.of(resource)
	for _, name := range slices.Sorted(configNames(of)) {
		x := of[name]
		if x.change != configOwn || !wanted(name) {
			continue
		}
		o := kmsg.NewDescribeConfigsResponseResourceConfig()
		o.Name, o.Value, o.ReadOnly, o.Source, o.IsSensitive = name, x.value, x.readOnly, sourceDefault, x.typ == kmsg.ConfigTypePassword
		if req.Version >= 3 {
			o.ConfigType = x.typ
			if req.IncludeDocumentation {
				o.Documentation = new(string)
			}
		}
		synonym := name
		if kind == configOfTopic {
			synonym = x.synonym
			if v, ok := set[name]; ok {
				o.Value, o.Source = &v, sourceTopic
				o.ConfigSynonyms = append(o.ConfigSynonyms, synonymOf(name, &v, sourceTopic))
			}
		}
		o.ConfigSynonyms = append(o.ConfigSynonyms, synonymOf(synonym, x.value, sourceDefault))
		if !req.IncludeSynonyms || o.IsSensitive {
			o.ConfigSynonyms = nil
		}
		all = append(all, o)
	}
	return all
}

func synonymOf(name string, value *string, source kmsg.ConfigSource) kmsg.DescribeConfigsResponseResourceConfigConfigSynonym {
	y := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
	y.Name, y.Value, y.Source = name, value, source
	return y
}

func configNames(of map[string]personaConfig) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range of {
			if !yield(name) {
				return
			}
		}
	}
}

// valid says whether a value of an own configuration may be set.
func (x *personaConfig) valid(value string) bool {
	switch x.typ {
	case kmsg.ConfigTypeBoolean:
		return value == "true" || value == "false"
	case kmsg.ConfigTypeLong:
		n, err := strconv.ParseInt(value, 10, 64)
		return err == nil && n >= 0
	}
	return value != "" && value[0] >= '0' && value[0] <= '9' // a version
}
