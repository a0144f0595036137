package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// tokenRefusal is why there are no delegation tokens (KIP-48): on a connection that anybody could have made they may not be
// asked for, and on the others they are switched off.
func (s *session) tokenRefusal() int16 {
	p := s.listener.config.Protocol
	if p == Plaintext || p == TLS && s.principal.Name == anonymousName {
		return codeDelegationTokenRequestNotAllowed
	}
	return codeDelegationTokenAuthDisabled
}

// anonymousName is the name of a principal that has not authenticated itself.
const anonymousName = "ANONYMOUS"

func handleCreateDelegationToken(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.CreateDelegationTokenRequest)
	resp := req.ResponseKind().(*kmsg.CreateDelegationTokenResponse)
	resp.ErrorCode = s.tokenRefusal()
	resp.PrincipalType, resp.PrincipalName = s.principal.Type, s.principal.Name
	if c.version >= 3 {
		resp.TokenRequesterPrincipalType, resp.TokenRequesterPrincipalName = s.principal.Type, s.principal.Name
	}
	resp.IssueTimestamp, resp.ExpiryTimestamp, resp.MaxTimestamp = -1, -1, -1
	resp.HMAC = []byte{}
	return resp, nil
}

func handleRenewDelegationToken(s *session, c *call) (kmsg.Response, error) {
	resp := c.req.ResponseKind().(*kmsg.RenewDelegationTokenResponse)
	resp.ErrorCode, resp.ExpiryTimestamp = s.tokenRefusal(), -1
	return resp, nil
}

func handleExpireDelegationToken(s *session, c *call) (kmsg.Response, error) {
	resp := c.req.ResponseKind().(*kmsg.ExpireDelegationTokenResponse)
	resp.ErrorCode, resp.ExpiryTimestamp = s.tokenRefusal(), -1
	return resp, nil
}

func handleDescribeDelegationToken(s *session, c *call) (kmsg.Response, error) {
	resp := c.req.ResponseKind().(*kmsg.DescribeDelegationTokenResponse)
	resp.ErrorCode = s.tokenRefusal()
	return resp, nil
}
