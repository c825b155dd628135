// Generated from the server's wire types by scripts/generate.mjs: do not edit.

import type { ClientFrame, EventFrame, ServerMessage } from "../src/protocol/generated.js";

export const clientFrames: Record<string, ClientFrame> = {
    "dependency_add": {
        "type": "dependency_add",
        "payload": {
            "sourceNodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "targetNodeId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05",
            "sourceOutputId": "5c4f3021-96a7-42b3-84d5-17869203440c",
            "targetInputId": "6d504132-a7b8-43c4-95e6-28970314550d"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "dependency_remove_by_ends": {
        "type": "dependency_remove",
        "payload": {
            "sourceNodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "targetNodeId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "dependency_remove_by_id": {
        "type": "dependency_remove",
        "payload": {
            "dependencyId": "f6e9dacb-3041-4c5d-8e7f-b1203c4d5e06"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "dependency_update": {
        "type": "dependency_update",
        "payload": {
            "dependencyId": "f6e9dacb-3041-4c5d-8e7f-b1203c4d5e06",
            "sourceOutputId": "180bfced-5263-4e7f-a091-d3425e6f7008",
            "targetInputId": "07faebdc-4152-4d6e-9f80-c2314d5e6f07"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "dependency_update_clears": {
        "type": "dependency_update",
        "payload": {
            "dependencyId": "f6e9dacb-3041-4c5d-8e7f-b1203c4d5e06",
            "sourceOutputId": null
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "hello": {
        "type": "hello",
        "payload": {
            "token": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl",
            "clientId": "291c0dfe-6374-4f80-91a2-e4536f701109",
            "protocol": {
                "min": 2,
                "max": 2
            }
        }
    },
    "lock_acquire": {
        "type": "lock_acquire",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "ttlMs": 30000,
            "wait": true
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "lock_acquire_defaults": {
        "type": "lock_acquire",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "lock_break": {
        "type": "lock_break",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "reason": "The agent hangs."
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "lock_release": {
        "type": "lock_release",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "fence": 7
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "lock_release_leaves_the_queue": {
        "type": "lock_release",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "lock_renew": {
        "type": "lock_renew",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "fence": 7,
            "ttlMs": 60000
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_create": {
        "type": "node_create",
        "payload": {
            "projectId": "7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "id": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "title": "Compare three suppliers",
            "description": "Price, *lead time*, risk.",
            "status": "draft",
            "parentId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05",
            "position": {
                "x": 120.5,
                "y": -80.25
            },
            "metadata": {
                "canvas": {
                    "width": 240
                }
            },
            "authorType": "agent",
            "supervisorUserId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_create_title_only": {
        "type": "node_create",
        "payload": {
            "title": "Compare three suppliers"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_delete": {
        "type": "node_delete",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "fence": 7
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_input_add_external_link": {
        "type": "node_input_add",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "inputType": "external_link",
            "externalUrl": "https://example.org/prices"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_input_add_file": {
        "type": "node_input_add",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "inputType": "file",
            "fileId": "291c0dfe-6374-4f80-b1a2-e4536f708109"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_input_add_node_reference": {
        "type": "node_input_add",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "inputType": "node_reference",
            "sourceNodeId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05",
            "sourceNodeVersion": 3
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_input_add_text": {
        "type": "node_input_add",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "id": "07faebdc-4152-4d6e-9f80-c2314d5e6f07",
            "inputType": "text",
            "textContent": "Only suppliers from the region.",
            "label": "Constraint",
            "metadata": {
                "required": true
            },
            "fence": 7
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_input_remove": {
        "type": "node_input_remove",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "inputId": "07faebdc-4152-4d6e-9f80-c2314d5e6f07",
            "fence": 7
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_move": {
        "type": "node_move",
        "payload": {
            "moves": [
                {
                    "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                    "position": {
                        "x": 120.5,
                        "y": -80.25
                    }
                },
                {
                    "nodeId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05",
                    "position": {
                        "x": 0,
                        "y": 0.5
                    }
                }
            ]
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_output_add_external_link": {
        "type": "node_output_add",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "outputType": "external_link",
            "externalUrl": "https://example.org/report"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_output_add_file": {
        "type": "node_output_add",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "outputType": "file",
            "fileId": "291c0dfe-6374-4f80-b1a2-e4536f708109"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_output_add_structured_data": {
        "type": "node_output_add",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "id": "180bfced-5263-4e7f-a091-d3425e6f7008",
            "outputType": "structured_data",
            "structuredData": {
                "cheapest": "Nordwind"
            },
            "label": "Choice",
            "metadata": {
                "final": true
            },
            "fence": 7
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_output_add_text": {
        "type": "node_output_add",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "outputType": "text",
            "textContent": "Nordwind is the cheapest."
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_output_remove": {
        "type": "node_output_remove",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "outputId": "180bfced-5263-4e7f-a091-d3425e6f7008"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_restore": {
        "type": "node_restore",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_rollback": {
        "type": "node_rollback",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "version": 2,
            "fence": 7
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_update": {
        "type": "node_update",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "changes": {
                "title": "Compare four suppliers",
                "description": "Price and risk.",
                "status": "in_progress",
                "parentId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05",
                "supervisorUserId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                "metadata": {
                    "weight": 0.5
                },
                "position": {
                    "x": 120.5,
                    "y": -80.25
                }
            },
            "baseVersion": 3,
            "fence": 7
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "node_update_clears": {
        "type": "node_update",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "changes": {
                "description": null,
                "parentId": null,
                "supervisorUserId": null
            }
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "notifications_read_ids": {
        "type": "notifications_read",
        "payload": {
            "ids": [
                "e1d2c3b4-a596-4788-9a6b-5c4d3e2f1a0d"
            ]
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "notifications_read_up_to": {
        "type": "notifications_read",
        "payload": {
            "upTo": "e1d2c3b4-a596-4788-9a6b-5c4d3e2f1a0d"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "ping": {
        "type": "ping",
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "presence": {
        "type": "presence",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "cursor": {
                "x": 120.5,
                "y": -80.25
            },
            "selection": [
                "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04"
            ],
            "viewport": {
                "x": 0,
                "y": 0.5,
                "zoom": 1.25
            },
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "action": "editing",
            "drag": [
                {
                    "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                    "position": {
                        "x": 120.5,
                        "y": -80.25
                    }
                }
            ]
        }
    },
    "presence_cleared": {
        "type": "presence",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "cursor": null,
            "selection": null,
            "viewport": null,
            "nodeId": null,
            "action": null,
            "drag": null
        }
    },
    "presence_part": {
        "type": "presence",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "cursor": {
                "x": 120.5,
                "y": -80.25
            }
        }
    },
    "redo": {
        "type": "redo",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "subscribe_execution": {
        "type": "subscribe",
        "payload": {
            "channel": "execution:07faebdc-4152-4d6e-9f80-c2314d5e6f07",
            "from": "snapshot"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "subscribe_live": {
        "type": "subscribe",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "subscribe_node": {
        "type": "subscribe",
        "payload": {
            "channel": "node:d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "from": "snapshot"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "subscribe_resume": {
        "type": "subscribe",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "from": {
                "epoch": "180bfced-5263-4e7f-8091-d3425e6f7008",
                "seq": 41
            }
        }
    },
    "subscribe_snapshot": {
        "type": "subscribe",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "from": "snapshot"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "token_refresh": {
        "type": "token_refresh",
        "payload": {
            "token": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "undo": {
        "type": "undo",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "unsubscribe": {
        "type": "unsubscribe",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    }
};

export const serverFrames: Record<string, ServerMessage> = {
    "ack_adjusted": {
        "type": "ack",
        "payload": {
            "outcome": "adjusted",
            "seq": 42,
            "version": 4,
            "result": {
                "position": {
                    "x": 1000000,
                    "y": 0.5
                }
            }
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "ack_applied": {
        "type": "ack",
        "payload": {
            "outcome": "applied",
            "seq": 42,
            "version": 4,
            "result": {
                "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04"
            },
            "details": {
                "cycle": true
            }
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "ack_duplicate": {
        "type": "ack",
        "payload": {
            "outcome": "applied",
            "seq": 42,
            "version": 4,
            "duplicate": true
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "ack_lock": {
        "type": "ack",
        "payload": {
            "outcome": "applied",
            "seq": 42,
            "result": {
                "fence": 7,
                "expiresInMs": 30000
            }
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "ack_unchanged": {
        "type": "ack",
        "payload": {
            "outcome": "unchanged",
            "seq": 41,
            "version": 3
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "error": {
        "type": "error",
        "payload": {
            "code": "LOCK_HELD",
            "message": "Ada holds the lock on this node",
            "temporary": true,
            "details": {
                "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                "lockedByName": "Ada",
                "expiresInMs": 12000
            }
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "error_without_request": {
        "type": "error",
        "payload": {
            "code": "BAD_MESSAGE",
            "message": "expected a JSON object with a type",
            "temporary": false
        }
    },
    "head": {
        "type": "head",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "generation": 2,
            "epoch": "180bfced-5263-4e7f-8091-d3425e6f7008",
            "seq": 41
        }
    },
    "moving": {
        "type": "moving",
        "payload": {
            "retryAfterMs": 1500
        }
    },
    "pong": {
        "type": "pong",
        "payload": {
            "serverTime": "2026-11-22T17:00:00.123456Z"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "presence_diff": {
        "type": "presence_diff",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "generation": 2,
            "joins": [
                {
                    "sessionId": "7e615243-b8c9-44d5-86f7-39a81425660e",
                    "user": {
                        "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                        "name": "Ada"
                    }
                }
            ],
            "leaves": [
                "3a2d1e0f-7485-4091-a2b3-f5647081220a"
            ],
            "updates": [
                {
                    "sessionId": "7e615243-b8c9-44d5-86f7-39a81425660e",
                    "cursor": null,
                    "drag": [
                        {
                            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                            "position": {
                                "x": 120.5,
                                "y": -80.25
                            }
                        }
                    ]
                }
            ]
        }
    },
    "presence_state": {
        "type": "presence_state",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "generation": 2,
            "members": [
                {
                    "sessionId": "3a2d1e0f-7485-4091-a2b3-f5647081220a",
                    "user": {
                        "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                        "name": "Ada"
                    },
                    "cursor": {
                        "x": 120.5,
                        "y": -80.25
                    },
                    "selection": [
                        "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04"
                    ],
                    "viewport": null
                },
                {
                    "sessionId": "7e615243-b8c9-44d5-86f7-39a81425660e",
                    "user": {
                        "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
                    }
                }
            ]
        }
    },
    "reset": {
        "type": "reset",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "generation": 2,
            "reason": "below_floor",
            "epoch": "180bfced-5263-4e7f-8091-d3425e6f7008",
            "head": 41
        }
    },
    "reset_ahead_of_head": {
        "type": "reset",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "generation": 2,
            "reason": "ahead_of_head",
            "epoch": "180bfced-5263-4e7f-8091-d3425e6f7008",
            "head": 41
        }
    },
    "reset_epoch_changed": {
        "type": "reset",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "generation": 2,
            "reason": "epoch_changed",
            "epoch": "180bfced-5263-4e7f-8091-d3425e6f7008",
            "head": 41
        }
    },
    "snapshot": {
        "type": "snapshot",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "generation": 2,
            "part": 1,
            "parts": 1,
            "seq": 41,
            "nodes": [
                {
                    "id": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                    "orgId": "c0a8d3c2-41d5-4e0c-8f5e-2f3b5d7a9c02",
                    "projectId": "7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
                    "parentId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05",
                    "title": "Compare three suppliers",
                    "description": "Price, *lead time*, risk.",
                    "status": "in_progress",
                    "authorType": "agent",
                    "authorUserId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                    "supervisorUserId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                    "version": 3,
                    "metadata": {
                        "canvas": {
                            "width": 240,
                            "tags": [
                                "a",
                                "ü"
                            ]
                        },
                        "weight": 0.5
                    },
                    "position": {
                        "x": 120.5,
                        "y": -80.25
                    },
                    "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                    "lockedAt": "2026-11-22T17:00:00.123456Z",
                    "lockExpiresAt": "2026-11-22T17:00:30.123456Z",
                    "createdAt": "2026-11-22T17:00:00.123456Z",
                    "updatedAt": "2026-11-22T17:00:00.123456Z",
                    "inputs": [
                        {
                            "id": "6d504132-a7b8-43c4-95e6-28970314550d",
                            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                            "inputType": "text",
                            "textContent": "Budget: 10 000",
                            "label": "Budget",
                            "sortOrder": 0,
                            "createdAt": "2026-11-22T17:00:00.123456Z",
                            "metadata": {}
                        }
                    ],
                    "outputs": [
                        {
                            "id": "5c4f3021-96a7-42b3-84d5-17869203440c",
                            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                            "outputType": "structured_data",
                            "structuredData": {
                                "best": null
                            },
                            "label": "Ranking",
                            "sortOrder": 0,
                            "createdAt": "2026-11-22T17:00:00.123456Z",
                            "metadata": {}
                        }
                    ]
                },
                {
                    "id": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                    "orgId": "c0a8d3c2-41d5-4e0c-8f5e-2f3b5d7a9c02",
                    "projectId": "7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
                    "title": "Untitled",
                    "status": "draft",
                    "authorType": "human",
                    "version": 1,
                    "metadata": {},
                    "position": {
                        "x": 0,
                        "y": 0
                    },
                    "createdAt": "2026-11-22T17:00:00.123456Z",
                    "updatedAt": "2026-11-22T17:00:00.123456Z",
                    "inputs": [],
                    "outputs": []
                }
            ],
            "dependencies": [
                {
                    "id": "f6e9dacb-3041-4c5d-8e7f-b1203c4d5e06",
                    "sourceNodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                    "targetNodeId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05",
                    "sourceOutputId": "5c4f3021-96a7-42b3-84d5-17869203440c",
                    "targetInputId": "6d504132-a7b8-43c4-95e6-28970314550d",
                    "createdAt": "2026-11-22T17:00:00.123456Z"
                }
            ],
            "locks": [
                {
                    "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                    "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                    "lockedAt": "2026-11-22T17:00:00.123456Z",
                    "expiresAt": "2026-11-22T17:00:30.123456Z",
                    "expiresInMs": 30000
                }
            ],
            "executions": [
                {
                    "id": "07faebdc-4152-4d6e-9f80-c2314d5e6f07",
                    "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                    "status": "running",
                    "totalTokensIn": 1200,
                    "totalTokensOut": 340,
                    "modelId": "large-1"
                }
            ],
            "members": [
                {
                    "userId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                    "name": "Ada",
                    "role": "admin"
                }
            ]
        }
    },
    "subscribed": {
        "type": "subscribed",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "role": "member",
            "epoch": "180bfced-5263-4e7f-8091-d3425e6f7008",
            "head": 41,
            "generation": 2
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "synced": {
        "type": "synced",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "generation": 2,
            "seq": 41
        }
    },
    "token_expiring": {
        "type": "token_expiring",
        "payload": {
            "inMs": 60000
        }
    },
    "token_refreshed": {
        "type": "token_refreshed",
        "payload": {
            "expiresInMs": 3600000
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "trace_state": {
        "type": "trace_state",
        "payload": {
            "channel": "execution:07faebdc-4152-4d6e-9f80-c2314d5e6f07",
            "generation": 3,
            "seq": 15,
            "execution": {
                "id": "07faebdc-4152-4d6e-9f80-c2314d5e6f07",
                "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                "status": "running",
                "totalTokensIn": 1200,
                "totalTokensOut": 340,
                "modelId": "gpt-4-turbo-preview"
            },
            "total": 13,
            "events": [
                {
                    "id": "c0ffee00-1234-4abc-8def-0123456789ab",
                    "executionId": "07faebdc-4152-4d6e-9f80-c2314d5e6f07",
                    "n": 12,
                    "eventType": "llm_call",
                    "eventData": {
                        "temperature": 0.2
                    },
                    "timestamp": "2026-11-22T17:00:00.123456Z",
                    "durationMs": 1840,
                    "model": "gpt-4-turbo-preview",
                    "tokensIn": 310,
                    "tokensOut": 42,
                    "sequenceNumber": 90412
                },
                {
                    "id": "c0ffee00-1234-4abc-8def-0123456789ac",
                    "executionId": "07faebdc-4152-4d6e-9f80-c2314d5e6f07",
                    "n": 13,
                    "eventType": "tool_call",
                    "eventData": {},
                    "timestamp": "2026-11-22T17:00:00.123456Z",
                    "sequenceNumber": 90415,
                    "late": true
                }
            ]
        }
    },
    "unsubscribed": {
        "type": "unsubscribed",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b"
    },
    "unsubscribed_deleted": {
        "type": "unsubscribed",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "reason": "deleted"
        }
    },
    "unsubscribed_revoked": {
        "type": "unsubscribed",
        "payload": {
            "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
            "reason": "revoked"
        }
    },
    "welcome": {
        "type": "welcome",
        "payload": {
            "sessionId": "3a2d1e0f-7485-4091-a2b3-f5647081220a",
            "user": {
                "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                "name": "Ada",
                "email": "ada@example.org"
            },
            "protocol": {
                "min": 2,
                "max": 2
            },
            "limits": {
                "frameBytes": 262144,
                "channels": 64,
                "commandsPerSecond": 50,
                "commandsBurst": 200,
                "presencePerSecond": 60,
                "outboundBytes": 1048576,
                "resumeWindow": {
                    "hours": 24,
                    "events": 10000
                }
            },
            "heartbeatMs": 20000,
            "serverTime": "2026-11-22T17:00:00.123456Z"
        }
    }
};

export const eventFrames: Record<string, EventFrame> = {
    "dependency_added": {
        "type": "dependency_added",
        "payload": {
            "dependency": {
                "id": "f6e9dacb-3041-4c5d-8e7f-b1203c4d5e06",
                "sourceNodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                "targetNodeId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05",
                "sourceOutputId": "5c4f3021-96a7-42b3-84d5-17869203440c",
                "targetInputId": "6d504132-a7b8-43c4-95e6-28970314550d",
                "createdAt": "2026-11-22T17:00:00.123456Z"
            }
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 53,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "dependency_removed": {
        "type": "dependency_removed",
        "payload": {
            "dependencyId": "f6e9dacb-3041-4c5d-8e7f-b1203c4d5e06",
            "sourceNodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "targetNodeId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 54,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "execution_closed": {
        "type": "execution_closed",
        "payload": {
            "executionId": "07faebdc-4152-4d6e-9f80-c2314d5e6f07",
            "status": "complete"
        },
        "channel": "execution:07faebdc-4152-4d6e-9f80-c2314d5e6f07",
        "seq": 16,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": null,
        "txEnd": true,
        "generation": 3
    },
    "execution_update": {
        "type": "execution_update",
        "payload": {
            "executionId": "07faebdc-4152-4d6e-9f80-c2314d5e6f07",
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "status": "failed",
            "totalTokensIn": 1200,
            "totalTokensOut": 340,
            "errorMessage": "the model did not answer"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 63,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": null,
        "txEnd": true,
        "generation": 2
    },
    "feed_node_deleted": {
        "type": "node_deleted",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 69,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true
    },
    "file_update": {
        "type": "file_update",
        "payload": {
            "fileId": "f11e0000-5566-4778-899a-abbccddeeff0",
            "filename": "report.pdf",
            "processingStatus": "failed",
            "processingError": "the file is encrypted",
            "nodeIds": [
                "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04"
            ]
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 71,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": null,
        "txEnd": true,
        "generation": 2
    },
    "lock_acquired": {
        "type": "lock_acquired",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
            "lockedAt": "2026-11-22T17:00:00.123456Z",
            "expiresAt": "2026-11-22T17:00:30.123456Z",
            "expiresInMs": 30000
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 55,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "lock_acquired_for_the_holder": {
        "type": "lock_acquired",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
            "lockedAt": "2026-11-22T17:00:00.123456Z",
            "expiresAt": "2026-11-22T17:00:30.123456Z",
            "expiresInMs": 30000,
            "fence": 7
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 56,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b",
        "txEnd": true,
        "generation": 2
    },
    "lock_released": {
        "type": "lock_released",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
            "reason": "released"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 58,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "lock_released_broken": {
        "type": "lock_released",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
            "reason": "broken"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 60,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "lock_released_deleted": {
        "type": "lock_released",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
            "reason": "deleted"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 62,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "lock_released_expired": {
        "type": "lock_released",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
            "reason": "expired"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 59,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": null,
        "txEnd": true,
        "generation": 2
    },
    "lock_released_holder_removed": {
        "type": "lock_released",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
            "reason": "holder_removed"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 61,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "lock_renewed": {
        "type": "lock_renewed",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
            "expiresAt": "2026-11-22T17:00:30.123456Z",
            "expiresInMs": 30000
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 57,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "member_added": {
        "type": "member_added",
        "payload": {
            "userId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
            "role": "member"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 64,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "member_removed": {
        "type": "member_removed",
        "payload": {
            "userId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 66,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "member_updated": {
        "type": "member_updated",
        "payload": {
            "userId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
            "role": "viewer"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 65,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "node_created": {
        "type": "node_created",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "node": {
                "id": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                "orgId": "c0a8d3c2-41d5-4e0c-8f5e-2f3b5d7a9c02",
                "projectId": "7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
                "title": "Untitled",
                "status": "draft",
                "authorType": "human",
                "version": 1,
                "metadata": {},
                "position": {
                    "x": 0,
                    "y": 0
                },
                "createdAt": "2026-11-22T17:00:00.123456Z",
                "updatedAt": "2026-11-22T17:00:00.123456Z",
                "inputs": [],
                "outputs": []
            }
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 42,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b",
        "txEnd": true,
        "generation": 2
    },
    "node_created_by_an_execution": {
        "type": "node_created",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "node": {
                "id": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                "orgId": "c0a8d3c2-41d5-4e0c-8f5e-2f3b5d7a9c02",
                "projectId": "7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
                "parentId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05",
                "title": "Compare three suppliers",
                "description": "Price, *lead time*, risk.",
                "status": "in_progress",
                "authorType": "agent",
                "authorUserId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                "supervisorUserId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                "version": 3,
                "metadata": {
                    "canvas": {
                        "width": 240,
                        "tags": [
                            "a",
                            "ü"
                        ]
                    },
                    "weight": 0.5
                },
                "position": {
                    "x": 120.5,
                    "y": -80.25
                },
                "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                "lockedAt": "2026-11-22T17:00:00.123456Z",
                "lockExpiresAt": "2026-11-22T17:00:30.123456Z",
                "createdAt": "2026-11-22T17:00:00.123456Z",
                "updatedAt": "2026-11-22T17:00:00.123456Z",
                "inputs": [
                    {
                        "id": "6d504132-a7b8-43c4-95e6-28970314550d",
                        "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                        "inputType": "text",
                        "textContent": "Budget: 10 000",
                        "label": "Budget",
                        "sortOrder": 0,
                        "createdAt": "2026-11-22T17:00:00.123456Z",
                        "metadata": {}
                    }
                ],
                "outputs": [
                    {
                        "id": "5c4f3021-96a7-42b3-84d5-17869203440c",
                        "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                        "outputType": "structured_data",
                        "structuredData": {
                            "best": null
                        },
                        "label": "Ranking",
                        "sortOrder": 0,
                        "createdAt": "2026-11-22T17:00:00.123456Z",
                        "metadata": {}
                    }
                ]
            }
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 43,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "execution",
            "id": "07faebdc-4152-4d6e-9f80-c2314d5e6f07"
        },
        "generation": 2
    },
    "node_deleted": {
        "type": "node_deleted",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 47,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "node_deleted_on_its_channel": {
        "type": "node_deleted",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04"
        },
        "channel": "node:d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
        "seq": 88,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": null,
        "txEnd": true,
        "generation": 4
    },
    "node_input_added": {
        "type": "node_input_added",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "input": {
                "id": "6d504132-a7b8-43c4-95e6-28970314550d",
                "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                "inputType": "text",
                "textContent": "Budget: 10 000",
                "label": "Budget",
                "sortOrder": 0,
                "createdAt": "2026-11-22T17:00:00.123456Z",
                "metadata": {}
            }
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 49,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "node_input_removed": {
        "type": "node_input_removed",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "inputId": "6d504132-a7b8-43c4-95e6-28970314550d"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 50,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "node_output_added": {
        "type": "node_output_added",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "output": {
                "id": "5c4f3021-96a7-42b3-84d5-17869203440c",
                "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                "outputType": "structured_data",
                "structuredData": {
                    "best": null
                },
                "label": "Ranking",
                "sortOrder": 0,
                "createdAt": "2026-11-22T17:00:00.123456Z",
                "metadata": {}
            }
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 51,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": null,
        "txEnd": true,
        "generation": 2
    },
    "node_output_removed": {
        "type": "node_output_removed",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "outputId": "5c4f3021-96a7-42b3-84d5-17869203440c"
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 52,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "node_restored": {
        "type": "node_restored",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "node": {
                "id": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                "orgId": "c0a8d3c2-41d5-4e0c-8f5e-2f3b5d7a9c02",
                "projectId": "7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
                "parentId": "e5d8c9ba-2f30-4b4c-9d6e-a01f2b3c4d05",
                "title": "Compare three suppliers",
                "description": "Price, *lead time*, risk.",
                "status": "in_progress",
                "authorType": "agent",
                "authorUserId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                "supervisorUserId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                "version": 3,
                "metadata": {
                    "canvas": {
                        "width": 240,
                        "tags": [
                            "a",
                            "ü"
                        ]
                    },
                    "weight": 0.5
                },
                "position": {
                    "x": 120.5,
                    "y": -80.25
                },
                "lockedBy": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                "lockedAt": "2026-11-22T17:00:00.123456Z",
                "lockExpiresAt": "2026-11-22T17:00:30.123456Z",
                "createdAt": "2026-11-22T17:00:00.123456Z",
                "updatedAt": "2026-11-22T17:00:00.123456Z",
                "inputs": [
                    {
                        "id": "6d504132-a7b8-43c4-95e6-28970314550d",
                        "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                        "inputType": "text",
                        "textContent": "Budget: 10 000",
                        "label": "Budget",
                        "sortOrder": 0,
                        "createdAt": "2026-11-22T17:00:00.123456Z",
                        "metadata": {}
                    }
                ],
                "outputs": [
                    {
                        "id": "5c4f3021-96a7-42b3-84d5-17869203440c",
                        "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                        "outputType": "structured_data",
                        "structuredData": {
                            "best": null
                        },
                        "label": "Ranking",
                        "sortOrder": 0,
                        "createdAt": "2026-11-22T17:00:00.123456Z",
                        "metadata": {}
                    }
                ]
            }
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 48,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "node_updated": {
        "type": "node_updated",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "changes": {
                "title": "Compare four suppliers",
                "description": null,
                "status": "complete",
                "parentId": null,
                "supervisorUserId": null,
                "metadata": {
                    "weight": 0.5
                },
                "position": {
                    "x": 120.5,
                    "y": -80.25
                }
            },
            "version": 4
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 44,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "requestId": "4b3e2f10-8596-41a2-b3c4-06758192330b",
        "txEnd": true,
        "generation": 2
    },
    "node_updated_by_a_foreign_writer": {
        "type": "node_updated",
        "payload": {
            "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
            "changes": {
                "status": "complete"
            },
            "version": 5,
            "lockOverridden": true
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 45,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": null,
        "txEnd": true,
        "generation": 2
    },
    "nodes_moved": {
        "type": "nodes_moved",
        "payload": {
            "moves": [
                {
                    "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                    "position": {
                        "x": 120.5,
                        "y": -80.25
                    }
                }
            ]
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 46,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "notification": {
        "type": "notification",
        "payload": {
            "notification": {
                "id": "0c4f7d52-93a1-4f0e-8d6b-5b7c2a1e9f10",
                "userId": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03",
                "orgId": "3e9d8c7b-6a5f-4e3d-9c2b-1a0f9e8d7c02",
                "type": "human_input_needed",
                "title": "The agent needs your input on “Draft the report”",
                "body": "Which quarter?",
                "resourceType": "node",
                "resourceId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                "projectId": "7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
                "nodeId": "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04",
                "createdAt": "2026-11-22T17:00:00.123456Z"
            },
            "unreadCount": 3
        },
        "channel": "user",
        "seq": 12,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": null,
        "txEnd": true
    },
    "notifications_read": {
        "type": "notifications_read",
        "payload": {
            "ids": [
                "0c4f7d52-93a1-4f0e-8d6b-5b7c2a1e9f10"
            ],
            "unreadCount": 2
        },
        "channel": "user",
        "seq": 13,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true
    },
    "project_deleted": {
        "type": "project_deleted",
        "payload": {},
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 68,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "project_updated": {
        "type": "project_updated",
        "payload": {
            "changes": {
                "name": "Suppliers",
                "workflowStates": [
                    "draft",
                    "done"
                ]
            }
        },
        "channel": "project:7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01",
        "seq": 67,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "user",
            "id": "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03"
        },
        "txEnd": true,
        "generation": 2
    },
    "trace_event": {
        "type": "trace_event",
        "payload": {
            "id": "c0ffee00-1234-4abc-8def-0123456789ab",
            "executionId": "07faebdc-4152-4d6e-9f80-c2314d5e6f07",
            "n": 12,
            "eventType": "llm_call",
            "eventData": {
                "temperature": 0.2
            },
            "timestamp": "2026-11-22T17:00:00.123456Z",
            "durationMs": 1840,
            "model": "gpt-4-turbo-preview",
            "tokensIn": 310,
            "tokensOut": 42,
            "sequenceNumber": 90412
        },
        "channel": "execution:07faebdc-4152-4d6e-9f80-c2314d5e6f07",
        "seq": 14,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": {
            "kind": "execution",
            "id": "07faebdc-4152-4d6e-9f80-c2314d5e6f07"
        },
        "txEnd": true,
        "generation": 3
    },
    "trace_event_late": {
        "type": "trace_event",
        "payload": {
            "id": "c0ffee00-1234-4abc-8def-0123456789ac",
            "executionId": "07faebdc-4152-4d6e-9f80-c2314d5e6f07",
            "n": 13,
            "eventType": "tool_call",
            "eventData": {},
            "timestamp": "2026-11-22T17:00:00.123456Z",
            "sequenceNumber": 90415,
            "late": true
        },
        "channel": "execution:07faebdc-4152-4d6e-9f80-c2314d5e6f07",
        "seq": 17,
        "at": "2026-11-22T17:00:00.123456Z",
        "by": null,
        "txEnd": true,
        "generation": 3
    }
};
