package group

import (
	"cmp"
	"context"
	"fmt"
	"io"
)

// Join implements Coordinator.
func (c *coordinator) Join(ctx context.Context, r JoinRequest) (JoinResult, error) {
	if err := requireGroupID("join group", r.Group); err != nil {
		return JoinResult{}, err
	}
	if c.moves {
		r.Local = false // the next coordinator is another process
		r.SessionTimeout = cmp.Or(r.SessionTimeout, Config{}.withDefaults().SessionTimeout)
	}
	id := ""
	if r.MemberID == "" {
		uuid, err := newUUID(c.random())
		if err != nil {
			return JoinResult{}, fmt.Errorf("join group %q: %w", r.Group, err)
		}
		id = cmp.Or(r.InstanceID, r.ClientID) + "-" + uuid
	}
	if err := c.lookAtTopics(ctx, r.Group, joinTopics(r)); err != nil {
		return JoinResult{}, fmt.Errorf("join group %q: %w", r.Group, err)
	}
	a, err := c.request(ctx, r.Group, func(call callID) event { return joinEvent{call, id, r} })
	var result JoinResult
	if a.join != nil {
		result = *a.join
	}
	if err != nil {
		return result, fmt.Errorf("join group %q: %w", r.Group, err)
	}
	return result, nil
}

// random serializes the source, which need not be safe for concurrent use.
func (c *coordinator) random() io.Reader { return lockedReader{c} }

type lockedReader struct{ *coordinator }

func (r lockedReader) Read(b []byte) (int, error) {
	r.randomMu.Lock()
	defer r.randomMu.Unlock()
	return r.config.Random.Read(b)
}

// requireGroupID refuses the empty group id, which only commits and their tools may use, for the sake of old clients
// (isGroupIdNotEmpty).
func requireGroupID(what, group string) error {
	if group == "" {
		return fmt.Errorf("%s: %w: it is empty", what, ErrInvalidGroupID)
	}
	return nil
}

// Sync implements Coordinator.
func (c *coordinator) Sync(ctx context.Context, r SyncRequest) (SyncResult, error) {
	if err := requireGroupID("sync group", r.Group); err != nil {
		return SyncResult{}, err
	}
	if err := c.lookAtTopics(ctx, r.Group, nil); err != nil {
		return SyncResult{}, fmt.Errorf("sync group %q: %w", r.Group, err)
	}
	a, err := c.request(ctx, r.Group, func(call callID) event { return syncEvent{call, r} })
	if err != nil {
		return SyncResult{}, fmt.Errorf("sync group %q: %w", r.Group, err)
	}
	return *a.sync, nil
}

// Heartbeat implements Coordinator.
func (c *coordinator) Heartbeat(ctx context.Context, m Membership) error {
	if err := requireGroupID("heartbeat", m.Group); err != nil {
		return err
	}
	if err := c.lookAtTopics(ctx, m.Group, nil); err != nil {
		return fmt.Errorf("heartbeat in group %q: %w", m.Group, err)
	}
	if _, err := c.request(ctx, m.Group, func(call callID) event { return heartbeatEvent{call, m} }); err != nil {
		return fmt.Errorf("heartbeat in group %q: %w", m.Group, err)
	}
	return nil
}

// Leave implements Coordinator.
func (c *coordinator) Leave(ctx context.Context, group string, members ...LeavingMember) error {
	if err := requireGroupID("leave group", group); err != nil {
		return err
	}
	if _, err := c.request(ctx, group, func(call callID) event { return leaveEvent{call, members} }); err != nil {
		return fmt.Errorf("leave group %q: %w", group, err)
	}
	return nil
}
