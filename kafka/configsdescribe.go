package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleDescribeConfigs describes configurations with their sources, synonyms and meaning (KIP-133, KIP-226, KIP-569).
func handleDescribeConfigs(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	unknown := slices.ContainsFunc(req.Resources, func(r kmsg.DescribeConfigsRequestResource) bool {
		return kindWords[configKind(r.ResourceType)] == "" && configKind(r.ResourceType) != kindLogger
	})
	for i := range req.Resources {
		r := &req.Resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		out.ErrorMessage = kmsg.StringPtr("")
		var entries []configEntry
		var err error
		if unknown { // one that nobody knows spoils them all, as in Kafka
			err = standard(codeInvalidRequest)
		} else {
			entries, err = s.describeConfigs(c.ctx, configKind(r.ResourceType), r.ResourceName)
		}
		if err != nil {
			code, text := c.outcome(err)
			if out.ErrorCode = code; text != nil {
				out.ErrorMessage = text
			}
		}
		for _, e := range entries {
			if len(r.ConfigNames) > 0 && !slices.Contains(r.ConfigNames, e.name) {
				continue
			}
			out.Configs = append(out.Configs, e.describe(c.version, req.IncludeSynonyms, req.IncludeDocumentation))
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp, nil
}

// describe writes an entry as the protocol has it.
func (e *configEntry) describe(version int16, synonyms, documentation bool) kmsg.DescribeConfigsResponseResourceConfig {
	o := kmsg.NewDescribeConfigsResponseResourceConfig()
	o.Name, o.Value, o.ReadOnly, o.IsSensitive, o.Source = e.name, e.value, e.readOnly, e.sensitive, kmsg.ConfigSource(e.source)
	if e.sensitive {
		o.Value = nil
	}
	if version >= 3 {
		o.ConfigType = kmsg.ConfigType(e.typ)
		if e.source == sourceLogger {
			o.Documentation = kmsg.StringPtr("")
		} else if documentation {
			o.Documentation = &e.doc
		}
	}
	if synonyms {
		for _, s := range e.synonyms {
			y := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			y.Name, y.Value, y.Source = s.name, s.value, kmsg.ConfigSource(s.source)
			if e.sensitive {
				y.Value = nil
			}
			o.ConfigSynonyms = append(o.ConfigSynonyms, y)
		}
	}
	return o
}

// mayConfigure reports whether the principal may do op to the configuration of a resource.
func (s *session) mayConfigure(op operation, kind configKind, name string) error {
	switch kind {
	case kindTopic:
		if !s.authorize(op, resourceTopic, name) {
			return standard(codeTopicAuthorizationFailed)
		}
	case kindGroup:
		if !s.authorize(op, resourceGroup, name) {
			return standard(codeGroupAuthorizationFailed)
		}
	default:
		if !s.authorizeCluster(op) {
			return standard(codeClusterAuthorizationFailed)
		}
	}
	return nil
}

// describeConfigs returns all configurations of a resource, by name.
func (s *session) describeConfigs(ctx context.Context, kind configKind, name string) ([]configEntry, error) {
	if err := s.mayConfigure(opDescribeConfigs, kind, name); err != nil {
		return nil, err
	}
	switch kind {
	case kindTopic:
		return s.describeTopicConfigs(ctx, name)
	case kindBroker:
		return s.describeBrokerConfigs(name)
	case kindLogger:
		if name == "" {
			return nil, refusal(codeInvalidRequest, "Broker id must not be empty")
		}
		id, err := strconv.ParseInt(name, 10, 32)
		if err != nil {
			return nil, refusal(codeInvalidRequest, "Broker id must be an integer, but it is: "+name)
		}
		if int32(id) != s.broker.id {
			return nil, refusal(codeInvalidRequest, fmt.Sprintf("Unexpected broker id, expected %d but received %s", s.broker.id, name))
		}
		level := s.server.rootLevel(s.broker.id)
		return []configEntry{{name: rootLogger, value: &level, source: sourceLogger}}, nil
	case kindClientMetrics:
		if name == "" {
			return nil, refusal(codeInvalidRequest, "Client metrics subscription name must not be empty")
		}
		return describePlain(clientMetricsProperties(), s.server.dynamic(kind, name), sourceClientMetrics, func(p *property) string { return *p.value }), nil
	case kindGroup:
		if name == "" {
			return nil, refusal(codeInvalidRequest, "Group name must not be empty")
		}
		return describePlain(groupProperties(), s.server.dynamic(kind, name), sourceGroup, s.settings().groupDefault), nil
	}
	return nil, standard(codeInvalidRequest)
}

func (s *session) describeTopicConfigs(ctx context.Context, name string) ([]configEntry, error) {
	if err := checkTopicName(name); err != nil {
		return nil, err
	}
	t, err := s.server.store.FindTopic(name, partition.TopicID{})
	if err != nil {
		return nil, &protocolError{code: codeUnknownTopicOrPartition}
	}
	own, err := s.server.topicOverrides(ctx, &t)
	if err != nil {
		return nil, err
	}
	return s.broker.topicConfigs(own), nil
}

func (s *session) describeBrokerConfigs(name string) ([]configEntry, error) {
	layers := s.broker.layers()
	var out []configEntry
	if name == "" { // the default of all brokers: what is set there, and nothing else
		layers.dynamic, layers.static = nil, nil
		for _, n := range slices.Sorted(maps.Keys(layers.cluster)) {
			e := layers.entry(n)
			e.synonyms = slices.DeleteFunc(e.synonyms, func(y configSynonym) bool { return y.source != sourceDefaultBroker })
			out = append(out, e)
		}
		return out, nil
	}
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return nil, refusal(codeInvalidRequest, "Broker id must be an integer, but it is: "+name)
	}
	if int32(id) != s.broker.id {
		return nil, refusal(codeInvalidRequest, fmt.Sprintf("Unexpected broker id, expected %d or empty string, but received %s", s.broker.id, name))
	}
	for _, n := range layers.names() {
		out = append(out, layers.entry(n))
	}
	return out, nil
}

// describePlain describes the configurations of a resource whose properties have one name each.
func describePlain(r *registry, own map[string]string, source configSource, fallback func(*property) string) []configEntry {
	var out []configEntry
	for _, name := range r.names {
		p := r.byName[name]
		out = append(out, plainEntry(p, own, source, fallback(p)))
	}
	return out
}

// groupDefault is what a group has that sets nothing: the broker's property of that name.
func (s *settings) groupDefault(p *property) string {
	if _, ok := brokerProperties().byName["group."+p.name]; ok {
		return propertyReader(s.properties).text("group." + p.name)
	}
	return *p.value
}
