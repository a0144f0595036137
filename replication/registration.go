package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/partlog/partlog/internal/control"
)

// poll sends what the Lifecycle wants: one request at a time, on a goroutine of its own.
func (c *controller) poll(now time.Duration) {
	switch c.lifecycle.Poll(now) {
	case control.ActRegister:
		c.request(func(ctx context.Context) func(now time.Duration) {
			result, err := c.propose(ctx, c.registration())
			if err != nil {
				return c.lifecycle.Lost
			}
			return func(now time.Duration) { c.registeredAs(now, result) }
		})
	case control.ActHeartbeat:
		heartbeat := c.lifecycle.Heartbeat()
		c.request(func(ctx context.Context) func(now time.Duration) {
			answer, err := c.heartbeat(ctx, heartbeat)
			if err != nil {
				return c.lifecycle.Lost
			}
			return func(now time.Duration) { c.lifecycle.Answered(now, answer) }
		})
	}
	if c.lifecycle.Stage() == control.StageFailed {
		err := codeError(c.lifecycle.Failure(), strings.TrimSuffix(fmt.Sprintf("node %d: %s", c.id, c.refusal), ": "))
		if errors.Is(err, ErrUnknownNode) {
			err = fmt.Errorf("%w: it has been removed from the cluster, and can only come back with a new directory", err)
		}
		c.fail(err)
	}
}

// request runs send beside run, and what it returns on run's goroutine.
func (c *controller) request(send func(ctx context.Context) func(now time.Duration)) {
	c.work.Go(func() {
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		defer c.clock.AfterFunc(c.requestTimeout(), cancel)()
		then := send(ctx)
		c.inbox.put(func() { then(c.now()) })
	})
}

func (c *controller) registration() control.Register {
	r := control.Register{
		ID: control.NodeID(c.id), Incarnation: c.identity.incarnation, DirectoryID: c.identity.directory, Addr: c.identity.address,
		Rack: c.config.Rack, MinFeature: control.MinLevel, MaxFeature: control.MaxLevel, PreviousEpoch: c.identity.previous, Replaces: control.NoEpoch,
		ControllerOnly: c.config.ControllerOnly,
	}
	for _, l := range c.config.Listeners {
		r.Listeners = append(r.Listeners, control.Listener{Name: l.Name, Protocol: l.Protocol, Host: l.Host, Port: l.Port})
	}
	return r
}

// registeredAs takes the answer to a registration. The epoch is noted on disk before the node acts under it.
func (c *controller) registeredAs(now time.Duration, result control.Result) {
	if result.Code == control.OK && result.Epoch != c.epochs.Load() {
		if err := c.identity.registered(result.Epoch); err != nil {
			c.fail(fmt.Errorf("note the registration: %w", err))
			return
		}
		c.epochs.Store(result.Epoch)
	}
	c.refusal = result.Detail
	c.lifecycle.Registered(now, result.Code, result.Epoch)
}

// heartbeat sends a heartbeat to the controller.
func (c *controller) heartbeat(ctx context.Context, h control.Heartbeat) (answer control.HeartbeatAnswer, err error) {
	switch leader, _ := c.leader(); leader {
	case -1:
		return answer, ErrNoQuorum
	case c.id:
		return c.beat(ctx, h)
	default:
		body, err := json.Marshal(h)
		if err != nil {
			return answer, err
		}
		err = c.net.call(ctx, leader, kindHeartbeat, body, func(body []byte) error { return json.Unmarshal(body, &answer) })
		return answer, err
	}
}

// serveHeartbeat answers another node's.
func (c *controller) serveHeartbeat(ctx context.Context, from int32, body []byte) ([]byte, error) {
	var h control.Heartbeat
	if err := json.Unmarshal(body, &h); err != nil {
		return nil, err
	}
	if int32(h.Node) != from {
		return nil, fmt.Errorf("heartbeat of node %d from node %d", h.Node, from)
	}
	answer, err := c.beat(ctx, h)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// beat takes a heartbeat. It answers when a majority has confirmed that this node still led when it came: a leader that has been replaced, and does not know
// it yet, must not keep nodes from noticing that they are isolated.
func (c *controller) beat(ctx context.Context, h control.Heartbeat) (answer control.HeartbeatAnswer, err error) {
	confirmed := make(chan bool, 1)
	said := control.HeartbeatAnswer{Code: control.NotController} // not read when do did not wait for it
	err = c.do(ctx, func() {
		if c.active {
			var due []control.Command
			said, due = c.watch.Heartbeat(c.now(), h)
			c.proposeAll(due)
		}
		if said.Code == control.NotController {
			confirmed <- true
			return
		}
		id, err := c.raft.Confirm()
		if err != nil {
			confirmed <- false
			return
		}
		c.confirming[id] = confirmed
	})
	if err != nil {
		return answer, err
	}
	select {
	case led := <-confirmed:
		if !led {
			return control.HeartbeatAnswer{Code: control.NotController}, nil
		}
		return said, nil
	case <-ctx.Done():
		return answer, ctx.Err()
	case <-c.done:
		return answer, ErrClosed
	}
}

// confirm tells those that wait what raft says of the leadership, or, when it is over, that it is.
func (c *controller) confirm(ids []uint64, over bool) {
	for _, id := range ids {
		if waits, ok := c.confirming[id]; ok {
			waits <- true
			delete(c.confirming, id)
		}
	}
	if over {
		for id, waits := range c.confirming {
			waits <- false
			delete(c.confirming, id)
		}
	}
}
