package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	v1 "bothways/internal/api/v1"
)

// Client asks a daemon over its socket.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client of the daemon behind a socket.
func NewClient(socket string) *Client {
	return &Client{socket, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, // a client that is not used again leaves no connection behind
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// Get asks for what is at a path and decodes the answer.
func (c *Client) Get(ctx context.Context, what string, query url.Values, into any) error {
	u := url.URL{Scheme: "http", Host: "bothways", Path: "/v1/" + what, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	return c.do(req, into)
}

// Post sends a request for something to happen.
func (c *Client) Post(ctx context.Context, what string, body any) error {
	return c.Ask(ctx, what, body, &struct{}{})
}

// Ask sends a request for something to happen, and decodes what came of it.
func (c *Client) Ask(ctx context.Context, what string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://bothways/v1/"+what, bytes.NewReader(data))
	if err != nil {
		return err
	}
	return c.do(req, into)
}

// Gone waits until nobody answers any more.
func (c *Client) Gone(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.socket)
		if err != nil && ctx.Err() == nil {
			return nil
		}
		if conn != nil {
			conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the daemon at %s was told to stop, and still answers after %s", c.socket, limit)
		case <-tick.C:
		}
	}
}

func (c *Client) do(req *http.Request, into any) error {
	res, err := c.http.Do(req)
	if err != nil {
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
			return fmt.Errorf("no daemon answers at %s: is it running, and is this its socket (--socket)?", c.socket)
		case errors.Is(err, os.ErrPermission):
			return fmt.Errorf("%s: not allowed: the socket belongs to the daemon's user", c.socket)
		}
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		var p v1.Problem
		if json.NewDecoder(res.Body).Decode(&p) == nil && p.Error != "" {
			return errors.New(p.Error)
		}
		return fmt.Errorf("%s: %s", req.URL.Path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
