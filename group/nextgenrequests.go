package group

import (
	"context"
	"errors"
	"fmt"
)

// ConsumerGroupHeartbeat implements Coordinator.
func (c *coordinator) ConsumerGroupHeartbeat(ctx context.Context, r ConsumerHeartbeatRequest) (ConsumerHeartbeatResult, error) {
	result, err := c.consumerGroupHeartbeat(ctx, r)
	if err != nil {
		return ConsumerHeartbeatResult{}, fmt.Errorf("heartbeat in consumer group %q: %w", r.Group, err)
	}
	return result, nil
}

func (c *coordinator) consumerGroupHeartbeat(ctx context.Context, r ConsumerHeartbeatRequest) (ConsumerHeartbeatResult, error) {
	if r.Group == "" {
		return ConsumerHeartbeatResult{}, fmt.Errorf("%w: no group id", ErrInvalidRequest)
	}
	if err := c.config.ConsumerGroups.checkHeartbeat(&r); err != nil {
		return ConsumerHeartbeatResult{}, err
	}
	e := consumerHeartbeatEvent{ConsumerHeartbeatRequest: r}
	if r.MemberID == "" {
		uuid, err := newUUID(c.random())
		if err != nil {
			return ConsumerHeartbeatResult{}, err
		}
		e.newMemberID = uuid
	}
	w := wantedBy(r)
	for {
		topics, err := c.topicsFor(ctx, r.Group, w)
		if err != nil {
			return ConsumerHeartbeatResult{}, err
		}
		e.topics = topics
		a, err := c.request(ctx, r.Group, func(call callID) event { e.call = call; return e })
		switch {
		case errors.Is(err, errLookAgain):
		case err != nil:
			return ConsumerHeartbeatResult{}, err
		default:
			return *a.consumer, nil
		}
	}
}

// topicsWanted says for what a group needs to know of topics.
type topicsWanted struct {
	names     []string // subscribed to
	regex     *string
	joins     bool // the group may have to be made, or made of a classic one
	heartbeat bool // looks regularly
	resolves  bool // resolves regular expressions
	// describable is for the expressions: ConsumerHeartbeatRequest.Describable.
	describable func(topic string) bool
}

// wantedBy is what a heartbeat of the new protocol wants to know. (Kafka lets classic members of such a group resolve expressions
// too; here those wait for the next heartbeat.)
func wantedBy(r ConsumerHeartbeatRequest) topicsWanted {
	stays := r.MemberEpoch >= JoinGroupEpoch
	return topicsWanted{names: r.Topics, regex: r.Regex, heartbeat: stays, resolves: stays, joins: r.MemberEpoch == JoinGroupEpoch, describable: r.Describable}
}

// first is what to look at for a group that is not there yet.
func (w topicsWanted) first(names []string) topicsLook {
	if w.regex == nil || *w.regex == "" {
		return topicsLook{names: names}
	}
	return topicsLook{all: true, regexes: []string{*w.regex}, due: true}
}

// joinTopics returns the topics that a classic member subscribes to, or has partitions of.
func joinTopics(r JoinRequest) []string {
	if r.ProtocolType != ProtocolTypeConsumer || len(r.Protocols) == 0 {
		return nil
	}
	s, err := DecodeSubscription(r.Protocols[0].Metadata)
	if err != nil {
		return nil // the group will say so
	}
	topics := s.Topics
	for _, tp := range s.Owned {
		topics = append(topics, tp.Topic)
	}
	return topics
}

// lookAtTopics lets a group see the topics that it needs to know of, if it is a consumer group.
func (c *coordinator) lookAtTopics(ctx context.Context, group string, names []string) error {
	p, err := c.partition(ctx, group)
	if err != nil {
		return err
	}
	c.mu.Lock()
	g := p.groups[group]
	is := g != nil && g.next != nil
	c.mu.Unlock()
	if !is {
		return nil
	}
	topics, err := c.topicsFor(ctx, group, topicsWanted{names: names, heartbeat: true})
	if err != nil || topics == nil {
		return err
	}
	c.mu.Lock()
	defer c.unlock()
	if g := p.groups[group]; g != nil && g.next != nil && !c.closing {
		c.stepLocked(g, topicsEvent{topics})
	}
	return nil
}

// topicsFor returns what a group needs to know of topics, nil if it knows.
func (c *coordinator) topicsFor(ctx context.Context, group string, w topicsWanted) (*topicImage, error) {
	p, err := c.partition(ctx, group)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	look, need := w.first(w.names), w.joins
	if g := p.groups[group]; g != nil {
		look, need = g.topicsNeeded(c.config.Clock.Now(), w)
	}
	c.mu.Unlock()
	if !need {
		return nil, nil
	}
	if look.all {
		metadata, err := c.backend.Metadata(ctx, nil)
		if err != nil {
			return nil, err
		}
		i := newTopicImage(metadata, true)
		i.resolve(look, w.describable)
		return i, nil
	}
	names := sortedSet(look.names)
	if len(names) == 0 {
		return newTopicImage(nil, false), nil // a nil list would mean all
	}
	metadata, err := c.backend.Metadata(ctx, names)
	if err != nil {
		return nil, err
	}
	return newTopicImage(metadata, false), nil
}

// ConsumerGroupDescribe implements Coordinator.
func (c *coordinator) ConsumerGroupDescribe(ctx context.Context, group string) (ConsumerGroupDescription, error) {
	d, err := c.consumerGroupDescribe(ctx, group)
	if err != nil {
		return ConsumerGroupDescription{}, fmt.Errorf("describe consumer group %q: %w", group, err)
	}
	return d, nil
}

func (c *coordinator) consumerGroupDescribe(ctx context.Context, group string) (ConsumerGroupDescription, error) {
	p, err := c.partition(ctx, group)
	if err != nil {
		return ConsumerGroupDescription{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.gone {
		return ConsumerGroupDescription{}, ErrNotCoordinator
	}
	g := p.groups[group]
	if g == nil || g.next == nil {
		return ConsumerGroupDescription{}, ErrGroupIDNotFound
	}
	return g.next.describe(), nil
}
