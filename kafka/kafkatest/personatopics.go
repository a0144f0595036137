package kafkatest

import (
	"maps"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
)

// personaTopicConfigs remembers the configurations of topics that a release has and the store has not: they are described, and
// change nothing. The zero value is empty.
type personaTopicConfigs struct {
	mu     sync.Mutex // guards all below
	topics map[string]map[string]string
	asked  map[*kafka.Call]*personaAsked
}

// personaAsked is what was taken out of a request that is being handled.
type personaAsked struct {
	kinds []kmsg.ConfigResourceType
	names []string
	set   map[string][]personaSetting // by topic
}

// personaSetting sets a configuration, or resets it to its default.
type personaSetting struct {
	name  string
	value *string
}

// of returns a copy of what is set for a topic.
func (s *personaTopicConfigs) of(topic string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.topics[topic])
}

func (s *personaTopicConfigs) askedLocked(call *kafka.Call) *personaAsked {
	if s.asked == nil {
		s.asked, s.topics = map[*kafka.Call]*personaAsked{}, map[string]map[string]string{}
	}
	a := s.asked[call]
	if a == nil {
		a = &personaAsked{set: map[string][]personaSetting{}}
		s.asked[call] = a
	}
	return a
}

func (s *personaTopicConfigs) setAside(call *kafka.Call, kinds []kmsg.ConfigResourceType, names []string) {
	if len(kinds) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.askedLocked(call)
	a.kinds, a.names = kinds, names
}

func (s *personaTopicConfigs) asides(call *kafka.Call) ([]kmsg.ConfigResourceType, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.asked[call]; a != nil {
		return a.kinds, a.names
	}
	return nil, nil
}

func (s *personaTopicConfigs) ask(call *kafka.Call, topic, name string, value *string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.askedLocked(call)
	a.set[topic] = append(a.set[topic], personaSetting{name, value})
}

// done forgets what was taken out of a request.
func (s *personaTopicConfigs) done(call *kafka.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asked, call)
}

// keep brings in force what was asked for a topic; anew forgets what was set before.
func (s *personaTopicConfigs) keep(call *kafka.Call, topic string, anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if anew {
		delete(s.topics, topic)
	}
	a := s.asked[call]
	if a == nil {
		return
	}
	for _, x := range a.set[topic] {
		if s.topics[topic] == nil {
			s.topics[topic] = map[string]string{}
		}
		if s.topics[topic][x.name] = stringValue(x.value); x.value == nil {
			delete(s.topics[topic], x.name)
		}
	}
}

func stringValue(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// without removes the elements of which take says so; it may change the others.
func without[T any](all []T, take func(*T) bool) []T {
	kept := all[:0]
	for i := range all {
		if !take(&all[i]) {
			kept = append(kept, all[i])
		}
	}
	return kept
}

// notOfRelease marks a name that the release does not have, so that nothing knows it; it is taken off the answer's text.
const notOfRelease = "\x00"

// ownTopicConfigs: topics are given configurations by the names of the release. Those that it alone has are remembered.
var ownTopicConfigs = habit{
	keys: []int16{keyCreateTopics, keyDeleteTopics, keyAlterConfigs, keyIncrementalAlterConfigs},
	before: func(c *Cluster, call *kafka.Call) {
		of := c.config.persona.configs()[configOfTopic]
		// take says whether a configuration is left out of the request.
		take := func(topic string, name *string, value *string, reset bool) bool {
			x := of[*name]
			switch {
			case x.change == configAbsent, x.change == configOwn && !reset && (value == nil || !x.valid(*value)):
				*name += notOfRelease
			case x.change == configOwn:
				if reset {
					value = nil
				}
				c.configs.ask(call, topic, x.name, value)
				return true
			}
			return false
		}
		switch req := call.Request.(type) {
		case *kmsg.CreateTopicsRequest:
			for i := range req.Topics {
				t := &req.Topics[i]
				t.Configs = without(t.Configs, func(o *kmsg.CreateTopicsRequestTopicConfig) bool { return take(t.Topic, &o.Name, o.Value, false) })
			}
		case *kmsg.AlterConfigsRequest:
			for i := range req.Resources {
				if r := &req.Resources[i]; r.ResourceType == configOfTopic {
					r.Configs = without(r.Configs, func(o *kmsg.AlterConfigsRequestResourceConfig) bool {
						return take(r.ResourceName, &o.Name, o.Value, false)
					})
				}
			}
		case *kmsg.IncrementalAlterConfigsRequest:
			for i := range req.Resources {
				if r := &req.Resources[i]; r.ResourceType == configOfTopic {
					r.Configs = without(r.Configs, func(o *kmsg.IncrementalAlterConfigsRequestResourceConfig) bool {
						return o.Op <= kmsg.IncrementalAlterConfigOpDelete && take(r.ResourceName, &o.Name, o.Value, o.Op == kmsg.IncrementalAlterConfigOpDelete)
					})
				}
			}
		}
	},
	after: func(c *Cluster, call *kafka.Call, r kmsg.Response) {
		plain := func(text *string) {
			if text != nil {
				*text = strings.ReplaceAll(*text, notOfRelease, "")
			}
		}
		switch resp := r.(type) {
		case *kmsg.CreateTopicsResponse:
			for _, t := range resp.Topics {
				if plain(t.ErrorMessage); t.ErrorCode == 0 && !call.Request.(*kmsg.CreateTopicsRequest).ValidateOnly {
					c.configs.keep(call, t.Topic, true)
				}
			}
		case *kmsg.DeleteTopicsResponse:
			for _, t := range resp.Topics {
				if t.ErrorCode == 0 && t.Topic != nil {
					c.configs.keep(call, *t.Topic, true)
				}
			}
		case *kmsg.AlterConfigsResponse:
			for _, x := range resp.Resources {
				if plain(x.ErrorMessage); x.ErrorCode == 0 && x.ResourceType == configOfTopic && !call.Request.(*kmsg.AlterConfigsRequest).ValidateOnly {
					c.configs.keep(call, x.ResourceName, true)
				}
			}
		case *kmsg.IncrementalAlterConfigsResponse:
			for _, x := range resp.Resources {
				if plain(x.ErrorMessage); x.ErrorCode == 0 && x.ResourceType == configOfTopic && !call.Request.(*kmsg.IncrementalAlterConfigsRequest).ValidateOnly {
					c.configs.keep(call, x.ResourceName, false)
				}
			}
		}
	},
}
