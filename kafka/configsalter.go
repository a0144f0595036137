package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// The operations of IncrementalAlterConfigs (KIP-339).
const (
	alterSet      = 0
	alterDelete   = 1
	alterAppend   = 2
	alterSubtract = 3
)

// configChange is a change of one configuration.
type configChange struct {
	name  string
	op    int8
	value *string
}

// handleIncrementalAlterConfigs changes configurations one by one, and leaves the others as they are (KIP-339).
func handleIncrementalAlterConfigs(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.IncrementalAlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	seen := resourceCount{}
	for i := range req.Resources {
		seen.count(req.Resources[i].ResourceType, req.Resources[i].ResourceName)
	}
	for i := range req.Resources {
		r := &req.Resources[i]
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		var changes []configChange
		for _, cfg := range r.Configs {
			changes = append(changes, configChange{cfg.Name, int8(cfg.Op), cfg.Value})
		}
		err := seen.check(r.ResourceType, r.ResourceName)
		if err == nil {
			err = s.alterConfigs(c.ctx, configKind(r.ResourceType), r.ResourceName, changes, false, req.ValidateOnly)
		}
		out.ErrorCode, out.ErrorMessage = c.outcome(err)
		out.ResourceType = knownKind(r.ResourceType)
		resp.Resources = append(resp.Resources, out)
	}
	return resp, nil
}

// handleAlterConfigs replaces all configurations of a resource (KIP-133): those that are not named get their defaults.
func handleAlterConfigs(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.AlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	seen := resourceCount{}
	for i := range req.Resources {
		seen.count(req.Resources[i].ResourceType, req.Resources[i].ResourceName)
	}
	for i := range req.Resources {
		r := &req.Resources[i]
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		var changes []configChange
		for _, cfg := range r.Configs {
			changes = append(changes, configChange{cfg.Name, alterSet, cfg.Value})
		}
		err := seen.check(r.ResourceType, r.ResourceName)
		switch {
		case err != nil:
		case configKind(r.ResourceType) == kindLogger:
			err = refusal(codeInvalidRequest, "Unknown resource type 8")
		default:
			err = s.alterConfigs(c.ctx, configKind(r.ResourceType), r.ResourceName, changes, true, req.ValidateOnly)
		}
		out.ErrorCode, out.ErrorMessage = c.outcome(err)
		out.ResourceType = knownKind(r.ResourceType)
		resp.Resources = append(resp.Resources, out)
	}
	return resp, nil
}

func knownKind(t kmsg.ConfigResourceType) kmsg.ConfigResourceType {
	if kindWords[configKind(t)] == "" && configKind(t) != kindLogger {
		return kmsg.ConfigResourceTypeUnknown
	}
	return t
}

// resourceCount finds resources that a request names twice, of which neither is changed.
type resourceCount map[string]int

func (n resourceCount) count(t kmsg.ConfigResourceType, name string) {
	n[strconv.Itoa(int(t))+" "+name]++
}

func (n resourceCount) check(t kmsg.ConfigResourceType, name string) error {
	if n[strconv.Itoa(int(t))+" "+name] > 1 {
		return refusal(codeInvalidRequest, "Each resource must appear at most once.")
	}
	return nil
}

// alterConfigs changes the configurations of one resource, all or none. replace takes away what is not named.
func (s *session) alterConfigs(ctx context.Context, kind configKind, name string, changes []configChange, replace, validateOnly bool) error {
	names := map[string]bool{}
	for _, a := range changes {
		switch {
		case names[a.name]:
			return refusal(codeInvalidRequest, "Error due to duplicate config keys")
		case a.value == nil && a.op != alterDelete:
			return refusal(codeInvalidRequest, "Null value not supported for : "+a.name)
		}
		names[a.name] = true
	}
	if kind != kindLogger && kindWords[kind] == "" {
		return refusal(codeInvalidRequest, fmt.Sprintf("Unknown resource type %d", kind))
	}
	if err := s.mayConfigure(opAlterConfigs, kind, name); err != nil {
		return err
	}
	if kind == kindLogger {
		return s.alterLogger(name, changes, validateOnly)
	}
	if err := s.server.admin.alter.take(ctx); err != nil {
		return err
	}
	defer s.server.admin.alter.give()
	a := resourceAlteration{s: s, ctx: ctx, kind: kind, name: name, changes: changes, replace: replace, validateOnly: validateOnly}
	switch kind {
	case kindTopic:
		return a.topic()
	case kindBroker:
		return a.broker()
	case kindGroup:
		return a.group()
	}
	return a.clientMetrics()
}

// resourceAlteration is a change of one resource, with alter held.
type resourceAlteration struct {
	s                     *session
	ctx                   context.Context
	kind                  configKind
	name                  string
	changes               []configChange
	replace, validateOnly bool
}

// next works out what the resource will set. now is what it sets, fallback what a list has that it does not set.
func (a *resourceAlteration) next(now map[string]string, find func(string) *property, fallback func(string) string) (map[string]string, error) {
	next := map[string]string{}
	if !a.replace {
		maps.Copy(next, now)
	}
	for _, c := range a.changes {
		switch c.op {
		case alterSet:
			next[c.name] = *c.value
		case alterDelete:
			delete(next, c.name)
		case alterAppend, alterSubtract:
			if p := find(c.name); p == nil || p.typ != typeList {
				return nil, refusal(codeInvalidConfig, fmt.Sprintf("Can't %s to key %s because its type is not LIST.", map[int8]string{alterAppend: "APPEND", alterSubtract: "SUBTRACT"}[c.op], c.name))
			}
			v, ok := next[c.name]
			if !ok {
				v = fallback(c.name)
			}
			items, more := splitList(v), splitList(*c.value)
			if len(more) == 0 && len(items) > 0 {
				more = []string{""} // an item without a name, in Kafka's eyes
			}
			for _, item := range more {
				has := slices.Contains(items, item)
				switch {
				case c.op == alterAppend && !has:
					items = append(items, item)
				case c.op == alterSubtract && has:
					items = slices.DeleteFunc(items, func(x string) bool { return x == item })
				}
			}
			next[c.name] = strings.Join(items, ",")
		default:
			return nil, &protocolError{code: codeUnknownServerError}
		}
	}
	return next, nil
}

func (a *resourceAlteration) topic() error {
	srv := a.s.server
	t, missing := srv.store.FindTopic(a.name, partition.TopicID{})
	var now map[string]string
	var err error
	if missing == nil {
		if now, err = srv.topicOverrides(a.ctx, &t); err != nil {
			return err
		}
	}
	next, err := a.next(now, topicProperty, func(key string) string {
		for _, e := range a.s.broker.topicConfigs(nil) {
			if e.name == key && e.value != nil {
				return *e.value
			}
		}
		return ""
	})
	if err != nil {
		return err
	}
	// Kafka's controller looks at the name and for the topic last.
	if a.name == "" {
		return refusal(codeInvalidRequest, "Default topic resources are not allowed.")
	}
	if err := checkTopicName(a.name); err != nil {
		return err
	}
	if err := srv.checkTopicConfigs(a.s.settings(), next); err != nil {
		return err
	}
	if missing != nil {
		return refusal(codeUnknownTopicOrPartition, "The topic '"+a.name+"' does not exist.")
	}
	if a.validateOnly {
		return nil
	}
	err = srv.setTopicConfigs(a.ctx, &t, now, next)
	if bad, ok := errors.AsType[*partition.ConfigError](err); ok {
		return refusal(codeInvalidConfig, (&PropertyError{Name: bad.Key, Value: bad.Value, Reason: "want " + bad.Range}).Error())
	}
	return err
}

func (a *resourceAlteration) group() error {
	srv, all := a.s.server, groupProperties().byName
	find := func(key string) *property { return all[key] }
	now := srv.dynamic(kindGroup, a.name)
	next, err := a.next(now, find, func(key string) string { return a.s.settings().groupDefault(all[key]) })
	if err != nil {
		return err
	}
	if a.name == "" {
		return refusal(codeInvalidRequest, "Default group resources are not allowed.")
	}
	for _, key := range slices.Sorted(maps.Keys(next)) {
		if all[key] == nil {
			return refusal(codeInvalidConfig, "Unknown group config name: "+key)
		}
		if err := all[key].check(next[key]); err != nil {
			return refusal(codeInvalidConfig, err.Error())
		}
	}
	if err := a.s.settings().checkGroup(next); err != nil || a.validateOnly {
		return err
	}
	if err := srv.configureGroup(a.name, next); err != nil {
		return refusal(codeInvalidConfig, err.Error())
	}
	return a.put(now, next)
}

// put keeps what a resource sets now.
func (a *resourceAlteration) put(now, next map[string]string) error {
	changes := map[string]*string{}
	for key := range now {
		changes[key] = nil
	}
	for key, v := range next {
		changes[key] = &v
	}
	if len(a.name) > 512 {
		return refusal(codeInvalidRequest, "The name of the resource is too long to be kept.")
	}
	return a.s.server.changeConfigs(a.ctx, a.kind, a.name, changes)
}
