BEGIN TRANSACTION;
CREATE TABLE audit (
	audit_pk INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	namespace VARCHAR(64), 
	actor VARCHAR(200) NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	subject VARCHAR(128) NOT NULL, 
	details JSON NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (audit_pk)
);
INSERT INTO "audit" VALUES(1,'2026-01-01 00:00:00.000000','default','local','register_job','nightly','{}');
INSERT INTO "audit" VALUES(2,'2026-01-01 00:00:00.000000','default','local','register_job','untouched','{}');
CREATE TABLE "jobs" (
	job_pk INTEGER NOT NULL, 
	job_id VARCHAR(128) NOT NULL, 
	settings JSON NOT NULL, 
	registered_settings JSON NOT NULL, 
	seed BIGINT NOT NULL, 
	next_trial_number BIGINT NOT NULL, 
	next_sequence BIGINT NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	version BIGINT DEFAULT '0' NOT NULL, 
	namespace VARCHAR(64) DEFAULT 'default' NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (job_pk), 
	CONSTRAINT uq_jobs_namespace_job_id UNIQUE (namespace, job_id)
);
INSERT INTO "jobs" VALUES(1,'nightly','{"batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "seed": 1, "learning_rate": null}','{"batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "seed": 1, "learning_rate": null}',1,11,17,'2026-01-01 00:00:00.000000','2026-01-01 00:00:00.000000',3157104688828971231,'default');
INSERT INTO "jobs" VALUES(2,'untouched','{"batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "seed": 1, "learning_rate": null}','{"batch_sizes": [8, 16, 32, 64, 128], "default_batch_size": 32, "eta_knob": 0.75, "beta_knob": 2.0, "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"}, "max_epochs": 10, "power_limits_watts": null, "power_limit_step_watts": 25, "max_slowdown": null, "policy": "rheostat", "window_size": 0, "seed": 1, "learning_rate": null}',1,1,1,'2026-01-01 00:00:00.000000','2026-01-01 00:00:00.000000',150591503120550560,'default');
CREATE TABLE observations (
	observation_pk INTEGER NOT NULL, 
	trial_id VARCHAR(32) NOT NULL, 
	epoch DOUBLE NOT NULL, 
	closing BOOLEAN NOT NULL, 
	metric DOUBLE, 
	energy_joules DOUBLE, 
	time_seconds DOUBLE, 
	outcome VARCHAR(16), 
	received_at DATETIME NOT NULL, 
	answered_state VARCHAR(16) NOT NULL, 
	answered_reason TEXT NOT NULL, 
	answered_power_limit_watts INTEGER, 
	CONSTRAINT pk_observations PRIMARY KEY (observation_pk), 
	CONSTRAINT fk_observations_trial_id_trials FOREIGN KEY(trial_id) REFERENCES trials (trial_id) ON DELETE CASCADE, 
	CONSTRAINT uq_observations_trial_id_epoch_closing UNIQUE (trial_id, epoch, closing)
);
INSERT INTO "observations" VALUES(1,'9702171f30d04ea6b9ec79be12e9c9bc',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:01:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(2,'9702171f30d04ea6b9ec79be12e9c9bc',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:02:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(3,'9702171f30d04ea6b9ec79be12e9c9bc',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:03:00.000000','converged','accuracy 1 reached the target 0.9',NULL);
INSERT INTO "observations" VALUES(4,'56896e5830104bd69600b22360112aaa',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:04:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(5,'56896e5830104bd69600b22360112aaa',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:05:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(6,'56896e5830104bd69600b22360112aaa',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:06:00.000000','converged','accuracy 1 reached the target 0.9',NULL);
INSERT INTO "observations" VALUES(7,'0f701b91147c485e8ac6b9f370d1452e',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:07:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(8,'0f701b91147c485e8ac6b9f370d1452e',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:08:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(9,'0f701b91147c485e8ac6b9f370d1452e',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:09:00.000000','converged','accuracy 1 reached the target 0.9',NULL);
INSERT INTO "observations" VALUES(10,'3f28f9a1f59249d196d366995cc26d7e',1.0,0,6.00000000000000088817e-01,100.0,1.0,NULL,'2026-01-01 00:10:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(11,'3f28f9a1f59249d196d366995cc26d7e',2.0,0,0.8,200.0,2.0,NULL,'2026-01-01 00:11:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(12,'3f28f9a1f59249d196d366995cc26d7e',3.0,0,1.0,300.0,3.0,NULL,'2026-01-01 00:12:00.000000','converged','accuracy 1 reached the target 0.9',NULL);
INSERT INTO "observations" VALUES(13,'281dbab27a4f41ab80135297eb72206a',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:13:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(14,'281dbab27a4f41ab80135297eb72206a',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:14:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(15,'281dbab27a4f41ab80135297eb72206a',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:15:00.000000','converged','accuracy 1 reached the target 0.9',NULL);
INSERT INTO "observations" VALUES(16,'3a90d39f3ffb4bc2be719b756ce5c9bc',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:16:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(17,'3a90d39f3ffb4bc2be719b756ce5c9bc',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:17:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(18,'3a90d39f3ffb4bc2be719b756ce5c9bc',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:18:00.000000','converged','accuracy 1 reached the target 0.9',NULL);
INSERT INTO "observations" VALUES(19,'9c2448b316974be2b5773c83436e01ef',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:19:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(20,'9c2448b316974be2b5773c83436e01ef',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:20:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(21,'9c2448b316974be2b5773c83436e01ef',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:21:00.000000','converged','accuracy 1 reached the target 0.9',NULL);
INSERT INTO "observations" VALUES(22,'14d9c195902148f4b08f124e77a502ea',1.0,0,6.00000000000000088817e-01,160.0,1.0,NULL,'2026-01-01 00:22:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(23,'14d9c195902148f4b08f124e77a502ea',2.0,0,0.8,320.0,2.0,NULL,'2026-01-01 00:23:00.000000','running','not at the target yet',NULL);
INSERT INTO "observations" VALUES(24,'14d9c195902148f4b08f124e77a502ea',3.0,0,1.0,480.0,3.0,NULL,'2026-01-01 00:24:00.000000','converged','accuracy 1 reached the target 0.9',NULL);
CREATE TABLE placements (
	placement_pk INTEGER NOT NULL, 
	job_pk INTEGER NOT NULL, 
	gpu_model VARCHAR(128) NOT NULL, 
	gpu_count INTEGER NOT NULL, 
	min_power_limit_watts INTEGER NOT NULL, 
	max_power_limit_watts INTEGER NOT NULL, 
	smallest_oom_batch_size INTEGER, 
	CONSTRAINT pk_placements PRIMARY KEY (placement_pk), 
	CONSTRAINT fk_placements_job_pk_jobs FOREIGN KEY(job_pk) REFERENCES jobs (job_pk) ON DELETE CASCADE, 
	CONSTRAINT uq_placements_job_pk_gpu_model_gpu_count UNIQUE (job_pk, gpu_model, gpu_count)
);
INSERT INTO "placements" VALUES(1,1,'V100',1,100,250,NULL);
INSERT INTO "placements" VALUES(2,1,'A40',2,100,300,NULL);
CREATE TABLE policy_states (
	placement_pk INTEGER NOT NULL, 
	part VARCHAR(32) NOT NULL, 
	state JSON NOT NULL, 
	CONSTRAINT pk_policy_states PRIMARY KEY (placement_pk, part), 
	CONSTRAINT fk_policy_states_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE
);
INSERT INTO "policy_states" VALUES(1,'batch_size','{"arms": {"128": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [4.923623917106626], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "16": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [4.923623917106626], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "32": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [4.923623917106626], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "64": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [4.923623917106626], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 2, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 1.0, "doubted": null, "latest": [], "squares": 36.26732891814408, "total": 6.022236205774735}}, "8": {"curve": [], "epoch_costs": [], "epochs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}, "failures": 0.0, "lost_joules": 0.0, "runs": 0, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}}, "drift": [0.0, 0.0], "fruitless": {}, "learned": 5, "levels": [0.6000000000000001, 0.8]}');
INSERT INTO "policy_states" VALUES(1,'power_limit','{"32": {"done": false, "measured": {"150": [133.75, 1.0, 95.0, true], "200": [130.0, 1.0, 90.0, true], "250": [137.5, 1.0, 100.0, true]}, "planned": [250, 225, 200, 175, 150, 125, 100]}}');
INSERT INTO "policy_states" VALUES(1,'cost_bound','{"lowest": [412.5, 412.5, 412.5, 412.5, 412.5], "recent": [412.5, 412.5, 412.5, 412.5, 412.5], "stops": 0}');
INSERT INTO "policy_states" VALUES(2,'batch_size','{"arms": {"128": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [5.598421958998375], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "16": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [5.598421958998375], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "32": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [5.598421958998375], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 1, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}, "64": {"curve": [[-1.0986122886681098, 1], [-0.4054651081081645, 1]], "epoch_costs": [5.598421958998375], "epochs": {"count": 1.0, "doubted": null, "latest": [], "squares": 1.206948960812582, "total": 1.0986122886681098}, "failures": 0.0, "lost_joules": 0.0, "runs": 2, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 1.0, "doubted": null, "latest": [], "squares": 44.85026771441779, "total": 6.697034247666484}}, "8": {"curve": [], "epoch_costs": [], "epochs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}, "failures": 0.0, "lost_joules": 0.0, "runs": 0, "site": [0.0, 0.0], "stop_costs": [], "whole_costs": {"count": 0.0, "doubted": null, "latest": [], "squares": 0.0, "total": 0.0}}}, "drift": [0.0, 0.0], "fruitless": {}, "learned": 5, "levels": [0.6000000000000001, 0.8]}');
INSERT INTO "policy_states" VALUES(2,'power_limit','{"32": {"done": false, "measured": {"150": [264.0, 1.0, 152.0, true], "200": [258.0, 1.0, 144.0, true], "250": [270.0, 1.0, 160.0, true]}, "planned": [300, 275, 250, 225, 200, 175, 150, 125, 100]}}');
INSERT INTO "policy_states" VALUES(2,'cost_bound','{"lowest": [810.0, 810.0, 810.0, 810.0, 810.0], "recent": [810.0, 810.0, 810.0, 810.0, 810.0], "stops": 0}');
CREATE TABLE power_measurements (
	power_measurement_pk INTEGER NOT NULL, 
	placement_pk INTEGER NOT NULL, 
	batch_size INTEGER NOT NULL, 
	power_limit_watts INTEGER NOT NULL, 
	time_seconds DOUBLE, 
	energy_joules DOUBLE, 
	steps DOUBLE, 
	steps_per_epoch DOUBLE, 
	cost DOUBLE, 
	sequence BIGINT NOT NULL, 
	received_at DATETIME NOT NULL, 
	CONSTRAINT pk_power_measurements PRIMARY KEY (power_measurement_pk), 
	CONSTRAINT fk_power_measurements_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE
);
INSERT INTO "power_measurements" VALUES(1,1,32,250,1.0,100.0,10.0,10.0,NULL,1,'2026-01-01 00:00:00.000000');
INSERT INTO "power_measurements" VALUES(2,1,32,200,1.0,90.0,10.0,10.0,NULL,2,'2026-01-01 00:00:00.000000');
INSERT INTO "power_measurements" VALUES(3,1,32,150,1.0,95.0,10.0,10.0,NULL,3,'2026-01-01 00:00:00.000000');
INSERT INTO "power_measurements" VALUES(4,2,32,250,1.0,160.0,10.0,10.0,NULL,9,'2026-01-01 00:12:00.000000');
INSERT INTO "power_measurements" VALUES(5,2,32,200,1.0,144.0,10.0,10.0,NULL,10,'2026-01-01 00:12:00.000000');
INSERT INTO "power_measurements" VALUES(6,2,32,150,1.0,152.0,10.0,10.0,NULL,11,'2026-01-01 00:12:00.000000');
CREATE TABLE rheostat_schema_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT rheostat_schema_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "rheostat_schema_version" VALUES('0004');
CREATE TABLE runs (
	run_id VARCHAR(32) NOT NULL, 
	job_pk INTEGER NOT NULL, 
	placement_pk INTEGER NOT NULL, 
	idempotency_key VARCHAR(128), 
	batch_size INTEGER NOT NULL, 
	cost DOUBLE, 
	energy_joules DOUBLE, 
	time_seconds DOUBLE, 
	converged BOOLEAN, 
	sequence BIGINT NOT NULL, 
	received_at DATETIME NOT NULL, 
	CONSTRAINT pk_runs PRIMARY KEY (run_id), 
	CONSTRAINT fk_runs_job_pk_jobs FOREIGN KEY(job_pk) REFERENCES jobs (job_pk) ON DELETE CASCADE, 
	CONSTRAINT fk_runs_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE, 
	CONSTRAINT uq_runs_job_pk_idempotency_key UNIQUE (job_pk, idempotency_key)
);
INSERT INTO "runs" VALUES('ac2a99b11ac94825b3cc87840a557b51',1,1,NULL,64,NULL,300.0,3.0,1,4,'2026-01-01 00:00:00.000000');
INSERT INTO "runs" VALUES('2cf477f3f79740db86ead400b04bb57a',1,2,NULL,64,NULL,480.0,3.0,1,12,'2026-01-01 00:12:00.000000');
CREATE TABLE tokens (
	token_id VARCHAR(12) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	scopes VARCHAR(64) NOT NULL, 
	namespace VARCHAR(64), 
	secret_sha256 VARCHAR(64) NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	revoked_at DATETIME, 
	last_used_at DATETIME, 
	CONSTRAINT pk_tokens PRIMARY KEY (token_id)
);
CREATE TABLE trials (
	trial_id VARCHAR(32) NOT NULL, 
	job_pk INTEGER NOT NULL, 
	placement_pk INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	idempotency_key VARCHAR(128), 
	node VARCHAR(128), 
	batch_size INTEGER NOT NULL, 
	learning_rate DOUBLE, 
	power_limit_watts INTEGER, 
	profile_power_limits_watts JSON NOT NULL, 
	reason TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	state_reason TEXT NOT NULL, 
	epochs DOUBLE, 
	metric DOUBLE, 
	energy_joules DOUBLE, 
	time_seconds DOUBLE, 
	sequence BIGINT, 
	created_at DATETIME NOT NULL, 
	lease_expires_at DATETIME NOT NULL, 
	ended_at DATETIME, curve JSON, 
	CONSTRAINT pk_trials PRIMARY KEY (trial_id), 
	CONSTRAINT fk_trials_job_pk_jobs FOREIGN KEY(job_pk) REFERENCES jobs (job_pk) ON DELETE CASCADE, 
	CONSTRAINT fk_trials_placement_pk_placements FOREIGN KEY(placement_pk) REFERENCES placements (placement_pk) ON DELETE CASCADE, 
	CONSTRAINT uq_trials_job_pk_number UNIQUE (job_pk, number), 
	CONSTRAINT uq_trials_job_pk_idempotency_key UNIQUE (job_pk, idempotency_key), 
	CONSTRAINT ck_trials_state CHECK (state IN ('running', 'converged', 'failed', 'stopped', 'oom', 'cancelled', 'abandoned'))
);
INSERT INTO "trials" VALUES('9702171f30d04ea6b9ec79be12e9c9bc',1,1,1,'run-V100-0','node-1',128,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','expects 441.2 J a run (95 %: 99.1 to 1282); hopes to learn what saves 77.82 J in each later run, for about 0 J more in this one; the best known is 64, which expects 429.6 J a run (95 %: 245.6 to 699.8)','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,5,'2026-01-01 00:00:00.000000','2026-01-01 00:13:00.000000','2026-01-01 00:03:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}');
INSERT INTO "trials" VALUES('56896e5830104bd69600b22360112aaa',1,1,2,'run-V100-1','node-1',32,NULL,NULL,'[225, 175, 125, 100]','expects 460.9 J a run (95 %: 259.8 to 758.8); hopes to learn what saves 22.37 J in each later run, for about 48.76 J more in this one; the best known is 64, which expects 408.8 J a run (95 %: 328.2 to 503.1)','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,6,'2026-01-01 00:03:00.000000','2026-01-01 00:16:00.000000','2026-01-01 00:06:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}');
INSERT INTO "trials" VALUES('0f701b91147c485e8ac6b9f370d1452e',1,1,3,'run-V100-2','node-1',16,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','expects 513.2 J a run (95 %: 295.3 to 831.9); hopes to learn what saves 12.86 J in each later run, for about 106.1 J more in this one; the best known is 64, which expects 396.7 J a run (95 %: 333.3 to 468.5)','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,7,'2026-01-01 00:06:00.000000','2026-01-01 00:19:00.000000','2026-01-01 00:09:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}');
INSERT INTO "trials" VALUES('3f28f9a1f59249d196d366995cc26d7e',1,1,4,'run-V100-3','node-1',64,NULL,NULL,'[250, 225, 200, 175, 150, 125, 100]','expects 401.8 J a run (95 %: 340.4 to 471.2); hopes to learn what saves 2.461 J in each later run, for about 11.95 J more in this one; the best known is 32, which expects 391 J a run (95 %: 335.7 to 452.8)','converged','accuracy 1 reached the target 0.9',3.0,1.0,300.0,3.0,8,'2026-01-01 00:09:00.000000','2026-01-01 00:22:00.000000','2026-01-01 00:12:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}');
INSERT INTO "trials" VALUES('de158f783a254bc9aca55fa2d4360b62',1,1,5,NULL,NULL,32,NULL,NULL,'[225, 175, 125, 100]','the best known: expects 388.1 J a run (95 %: 334.9 to 447.3), and trying another is not worth what it would cost','abandoned','its lease ran out',NULL,NULL,NULL,NULL,NULL,'2026-01-01 00:12:00.000000','2026-01-01 00:22:00.000000','2026-01-01 00:24:00.000000',NULL);
INSERT INTO "trials" VALUES('281dbab27a4f41ab80135297eb72206a',1,2,6,'run-A40-0','node-1',64,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','expects 826.1 J a run (95 %: 557 to 1181); hopes to learn what saves 77.78 J in each later run, for about 56.03 J more in this one; the best known is 32, which expects 768.8 J a run (95 %: 661.4 to 888.5)','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,13,'2026-01-01 00:12:00.000000','2026-01-01 00:25:00.000000','2026-01-01 00:15:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}');
INSERT INTO "trials" VALUES('3a90d39f3ffb4bc2be719b756ce5c9bc',1,2,7,'run-A40-1','node-1',128,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','expects 826.9 J a run (95 %: 640.3 to 1051); hopes to learn what saves 15.36 J in each later run, for about 55.76 J more in this one; the best known is 32, which expects 771 J a run (95 %: 674.1 to 877.9)','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,14,'2026-01-01 00:15:00.000000','2026-01-01 00:28:00.000000','2026-01-01 00:18:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}');
INSERT INTO "trials" VALUES('9c2448b316974be2b5773c83436e01ef',1,2,8,'run-A40-2','node-1',16,NULL,NULL,'[300, 275, 250, 225, 200, 175, 150, 125, 100]','expects 844.7 J a run (95 %: 662.9 to 1061); hopes to learn what saves 8.839 J in each later run, for about 72.57 J more in this one; the best known is 32, which expects 771.5 J a run (95 %: 680.3 to 871.5)','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,15,'2026-01-01 00:18:00.000000','2026-01-01 00:31:00.000000','2026-01-01 00:21:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}');
INSERT INTO "trials" VALUES('14d9c195902148f4b08f124e77a502ea',1,2,9,'run-A40-3','node-1',32,NULL,NULL,'[300, 275, 225, 175, 125, 100]','the best known: expects 771.1 J a run (95 %: 685.4 to 864.4), and trying another is not worth what it would cost','converged','accuracy 1 reached the target 0.9',3.0,1.0,480.0,3.0,16,'2026-01-01 00:21:00.000000','2026-01-01 00:34:00.000000','2026-01-01 00:24:00.000000','{"points": [[1.0, 0.6000000000000001], [2.0, 0.8], [3.0, 1.0]], "epoch": 3.0, "gap": 1.0}');
INSERT INTO "trials" VALUES('4f6dc3f375004973a8c77728c9148f3b',1,2,10,NULL,NULL,32,NULL,NULL,'[300, 275, 225, 175, 125, 100]','the best known: expects 773.1 J a run (95 %: 708.3 to 842.2), and trying another is not worth what it would cost','running','not at the target yet',NULL,NULL,NULL,NULL,NULL,'2026-01-01 00:24:00.000000','2026-01-01 00:34:00.000000',NULL,NULL);
CREATE INDEX ix_trials_placement_pk_sequence ON trials (placement_pk, sequence);
CREATE INDEX ix_trials_running ON trials (job_pk) WHERE state = 'running';
CREATE INDEX ix_runs_placement_pk_sequence ON runs (placement_pk, sequence);
CREATE INDEX ix_power_measurements_placement_pk_sequence ON power_measurements (placement_pk, sequence);
CREATE INDEX ix_power_measurements_placement_pk_batch_size ON power_measurements (placement_pk, batch_size);
CREATE INDEX ix_audit_namespace_audit_pk ON audit (namespace, audit_pk);
COMMIT;
